//! Landlock: the ruleset that confines the program.

use super::privilege::require_no_new_privs;
use crate::parent::command::{Command, Landlock};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{
    Arg, Detail, Op, Operand, PlanBuilder, Reasons, SourceFd,
};
use crate::parent::std::{boxed::Box, os::fd::OwnedFd, sync::Arc};

impl Command {
    /// Confines the program to what the rules permit ([`landlock(7)`]); see
    /// [`Landlock`] for what they can say and what a program needs.
    ///
    /// The paths are opened in this process when the command is prepared or
    /// spawned, relative to its directory and root, and stand for the files
    /// that are there then. The child is confined after all other options and
    /// hooks, so [`Command::current_dir`] and [`Command::chroot`] need no rule;
    /// only the exec of the program does. A [`Command::landlock_fd`] confines
    /// it too, whatever is permitted here.
    ///
    /// That the kernel has confined the child is verified (a seccomp filter
    /// can make calls without effect), unless the rules permit to list the
    /// root directory, the root is another one, or there is a hook: the child
    /// tries to open its root directory.
    ///
    /// # Errors
    ///
    /// [`Step::Landlock`] if the kernel lacks what is asked for, which the
    /// error names, or if a path cannot be opened, with the path; without
    /// `no_new_privs`, if the child will not have CAP_SYS_ADMIN.
    /// [`Step::LandlockRestrictSelf`] with E2BIG, if 16 rulesets confine the
    /// caller. [`Step::Exec`] with EACCES, if the program may not be executed.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Command, Landlock};
    ///
    /// let rules = Landlock::new().execute("/usr").write("/var/cache/it").no_tcp();
    /// let mut it = Command::new("/usr/bin/it");
    /// it.no_new_privs(true).landlock(rules).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`landlock(7)`]: https://man7.org/linux/man-pages/man7/landlock.7.html
    pub fn landlock(&mut self, rules: Landlock) -> &mut Command {
        self.options.security.landlock = Some(Box::new(rules));
        self
    }

    /// Confines the program by a ruleset that was made elsewhere, such as the
    /// `RulesetCreated` of the crate `landlock`
    /// ([`landlock_create_ruleset(2)`]). The program does not inherit the
    /// descriptor.
    ///
    /// It takes Linux 5.13. A ruleset for which `LANDLOCK_ACCESS_FS_EXECUTE`
    /// is handled must permit it for the program and its dynamic loader. The
    /// kernel has no call that returns whether a process is confined, so a
    /// seccomp filter that makes [`landlock_restrict_self(2)`] without effect
    /// is not noticed, as it is for [`Command::landlock`].
    ///
    /// # Errors
    ///
    /// [`Step::LandlockFd`] if the descriptor is closed; without
    /// `no_new_privs`, if the child will not have CAP_SYS_ADMIN.
    /// [`Step::LandlockRestrictSelf`] with EBADFD, if it is no ruleset; with
    /// E2BIG, if 16 rulesets confine the caller; with EOPNOTSUPP or ENOSYS,
    /// if the kernel has no Landlock.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::os::fd::OwnedFd;
    /// # use offshoot::Command;
    /// # fn spawn(ruleset: Option<OwnedFd>) -> Result<(), offshoot::Error> {
    /// // `ruleset` is `Option::<OwnedFd>::from(created)`.
    /// let mut server = Command::new("/usr/bin/server");
    /// if let Some(ruleset) = ruleset {
    ///     server.no_new_privs(true).landlock_fd(ruleset);
    /// }
    /// server.spawn()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`landlock_create_ruleset(2)`]: https://man7.org/linux/man-pages/man2/landlock_create_ruleset.2.html
    /// [`landlock_restrict_self(2)`]: https://man7.org/linux/man-pages/man2/landlock_restrict_self.2.html
    pub fn landlock_fd(
        &mut self,
        ruleset: impl Into<OwnedFd>,
    ) -> &mut Command {
        let ruleset = Arc::new(ruleset.into());
        self.options.security.landlock_fd = Some(ruleset);
        self
    }
}

const REASONS: Reasons = &[
    (libc::EPERM, "it takes no_new_privs or CAP_SYS_ADMIN"),
    (libc::EBADFD, "the descriptor is no Landlock ruleset"),
    (libc::E2BIG, "16 rulesets confine the caller, and no more can"),
    (libc::EOPNOTSUPP, "Landlock is not enabled (kernel parameter lsm=)"),
    (libc::ENOSYS, "the kernel has no Landlock (Linux 5.13)"),
];

/// `landlock_restrict_self` with the ruleset that was passed, then with the
/// one that is made for the rules.
pub(crate) fn landlock(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let options = &plan.options().security;
    if let Some(fd) = &options.landlock_fd {
        require_no_new_privs(plan, Step::LandlockFd)?;
        let source = SourceFd::open_until_exec(Step::LandlockFd, fd);
        let index = plan.keep_fd(source)?;
        let args = [Arg::Fd(index), 0.into()];
        plan.step(Step::LandlockRestrictSelf, Operand::Label("landlock_fd"))
            .call(libc::SYS_landlock_restrict_self, &args)
            .shown_as("landlock")
            .note("a ruleset of the caller")
            .reasons(REASONS);
    }
    let Some(rules) = &options.landlock else { return Ok(()) };
    let abi = rules.usable_abi()?;
    plan.plan.landlock_lacks = rules.lacks(abi);
    if abi == 0 {
        return Ok(());
    }
    require_no_new_privs(plan, Step::Landlock)?;
    // Made when the plan is prepared.
    let source = SourceFd::new(0, None, Step::Landlock);
    let fd = plan.keep_fd(source)?;
    plan.plan.landlock = Some((rules.clone(), abi));
    let op = Op::Landlock { fd, flags: rules.flags(abi) };
    let detail = Detail::Rules(rules.len());
    plan.op(Step::LandlockRestrictSelf, Operand::Label(rules.shown()), op)
        .detail(detail)
        .shown_as("landlock")
        .note("denies all but what the rules permit")
        .reasons(REASONS);
    Ok(())
}
