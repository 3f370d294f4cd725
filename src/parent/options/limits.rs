//! Limits: resource limits of the child.

use crate::parent::command::{Command, Resource, Rlimit};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Detail, Operand, PlanBuilder};

impl Command {
    /// Sets a resource limit of the child ([`prlimit(2)`]). A number sets both
    /// limits; [`Rlimit`] sets them apart. Other limits are inherited.
    ///
    /// Limits are set before the ids change, so that a privileged
    /// caller may raise them; `RLIMIT_NPROC` is set last. They hold for the
    /// steps that follow too: a function of [`Command::pre_exec`] may find no
    /// memory below `RLIMIT_AS`, and a stack that is too small makes execve
    /// fail with E2BIG, or the program die of SIGKILL or SIGSEGV.
    ///
    /// # Errors
    ///
    /// [`Step::Rlimit`], naming the resource, for a soft limit above the hard
    /// one; with EPERM, if the hard limit is above the inherited one and the
    /// caller lacks CAP_SYS_RESOURCE, or `RLIMIT_NOFILE` is above
    /// `/proc/sys/fs/nr_open`. [`Step::Exec`] with EAGAIN, if the user has
    /// more processes than `RLIMIT_NPROC` allows after a change of user.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Resource, Rlimit};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "ulimit -c; ulimit -Sn; ulimit -Hn"]);
    /// sh.rlimit(Resource::Core, 0).rlimit(Resource::NoFile, Rlimit::new(64, 256));
    /// assert_eq!(sh.output()?.stdout, b"0\n64\n256\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`prlimit(2)`]: https://man7.org/linux/man-pages/man2/prlimit.2.html
    pub fn rlimit(
        &mut self,
        resource: Resource,
        limit: impl Into<Rlimit>,
    ) -> &mut Command {
        self.options.limits.rlimits.insert(resource, limit.into());
        self
    }
}

/// `prlimit64(0, resource, &limit, NULL)`, once a resource.
pub(crate) fn rlimits(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let all = &plan.options().limits.rlimits;
    let last = |resource: &Resource| *resource == Resource::NProc;
    let most = all.iter().filter(|(resource, _)| !last(resource));
    let processes = all.iter().filter(|(resource, _)| last(resource));
    for (resource, limit) in most.chain(processes) {
        rlimit(plan, *resource, *limit)?;
    }
    Ok(())
}

fn rlimit(
    plan: &mut PlanBuilder<'_>,
    resource: Resource,
    limit: Rlimit,
) -> Result<(), Error> {
    const HARD: &str = "a hard limit above the inherited one takes \
                        CAP_SYS_RESOURCE";
    const MOST_FDS: &str = "a hard limit above the inherited one takes \
                            CAP_SYS_RESOURCE, and none may be above \
                            /proc/sys/fs/nr_open";
    let name = resource.name();
    if limit.soft > limit.hard {
        let why = "the soft limit is above the hard limit";
        return plan.refuse(Step::Rlimit, why, name);
    }
    let files = resource == Resource::NoFile;
    let mut opened = plan.options().descriptors.opened.iter();
    let above = |n: u32| u64::from(n) >= limit.soft;
    if files && opened.any(|request| above(request.target.unsigned_abs())) {
        let why = "a descriptor of open_in_child is not below the soft limit";
        return plan.refuse(Step::Rlimit, why, name);
    }
    if files {
        plan.plan.file_limit = Some(limit.soft);
    }
    let limits = plan.words(Step::Rlimit, &[limit.soft, limit.hard])?;
    let number = resource as u32;
    plan.step(Step::Rlimit, Operand::Name(name))
        .call(
            libc::SYS_prlimit64,
            &[0.into(), number.into(), limits.into(), 0.into()],
        )
        .detail(Detail::Limits(limit.soft, limit.hard))
        .shown_as("prlimit")
        .reasons(if files {
            &[(libc::EPERM, MOST_FDS)]
        } else {
            &[(libc::EPERM, HARD)]
        });
    Ok(())
}
