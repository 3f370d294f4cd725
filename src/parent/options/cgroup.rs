//! The option `cgroup`, and the step by which a child enters its group.

use crate::call::slot;
use crate::parent::command::{Cgroup, Command};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::plan::{Arg, Operand, PlanBuilder, fixed_strings};

impl Command {
    /// Places the child in a control group (version 2).
    ///
    /// The child is created in the group (`CLONE_INTO_CGROUP`, Linux 5.7). If
    /// the kernel cannot do that, or clone3 is blocked, the child enters the
    /// group itself before exec; [`Launch::cgroup`](crate::Launch::cgroup)
    /// returns which of the two happened.
    ///
    /// The child of a frozen group has memory of its own, so that signal
    /// handlers still run in the caller. It runs, and the call returns, when
    /// the group is thawed.
    ///
    /// # Errors
    ///
    /// [`Step::Cgroup`] with the directory and:
    ///
    /// | errno | cause |
    /// | --- | --- |
    /// | ENOENT, ENODEV | the directory does not exist, or the group was removed |
    /// | EBADF | it is not a control group, or is one of version 1 |
    /// | EBUSY | the group has controllers enabled for its child groups |
    /// | EOPNOTSUPP | the group is threaded, or in an invalid domain |
    /// | EACCES | the group is not delegated to the caller |
    /// | EAGAIN | the group has as many processes as its pids.max allows |
    ///
    /// See [`cgroups(7)`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let error = Command::new("make").cgroup("/tmp").spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::Cgroup);
    /// assert_eq!(error.operand().unwrap(), "/tmp");
    /// ```
    ///
    /// [`cgroups(7)`]: https://man7.org/linux/man-pages/man7/cgroups.7.html
    pub fn cgroup(&mut self, group: impl Into<Cgroup>) -> &mut Command {
        self.options.launch.cgroup = Some(group.into());
        self
    }

    /// Makes a control group (version 2) for the child alone, below this one,
    /// and creates the child in it, as [`Command::cgroup`] does. Each spawn
    /// makes one, `offshoot-PID-NUMBER`; a prepared command too.
    ///
    /// All that descends from the child is in the group, whatever session or
    /// parent it has: [`Child::kill_tree`] then kills all of it, and answers
    /// [`TreeKill::Complete`].
    ///
    /// The group is removed, with the groups that the program has made below
    /// it, once the child has been reaped and no process is left in it: by the
    /// wait that reaps the child, by `kill_tree`, or when the [`Child`] and
    /// each [`Process`] of it are dropped. If descendants still run then, or
    /// if the child has not ended, the directory stays, and is not removed
    /// later. It is removed if the spawn fails. While the `Child` exists it
    /// holds one more descriptor.
    ///
    /// The group above must be the caller's (root's, or delegated to it):
    /// [`Cgroup::current`] is that of the calling process. A process that may
    /// write to `cgroup.procs` of another group can leave this one.
    ///
    /// # Errors
    ///
    /// As [`Command::cgroup`], and [`Step::Cgroup`]:
    ///
    /// - if `cgroup` is set too, for [`Command::exec`], and (as
    ///   [`Step::Clone`]) for [`Command::detach`], as nothing would remove the
    ///   group;
    /// - with EACCES, if the caller may make no group there; with EROFS, if
    ///   it is mounted read-only; with EAGAIN, if cgroup.max.depth or
    ///   cgroup.max.descendants permits no other.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::{Cgroup, Command, TreeKill};
    ///
    /// let mut make = Command::new("make").own_cgroup(Cgroup::current()?).spawn()?;
    /// assert_eq!(make.kill_tree()?, TreeKill::Complete);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let error = Command::new("make").own_cgroup("/tmp").spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::Cgroup);
    /// ```
    ///
    /// If this process is killed, its groups stay, with what runs in them. A
    /// service whose groups nobody else makes removes them when it is started
    /// again:
    ///
    /// ```no_run
    /// use std::{fs, io, path::Path, thread, time::Duration};
    ///
    /// /// Kills and removes the groups of processes that are gone.
    /// fn remove_leftovers(above: &Path) -> io::Result<()> {
    ///     for entry in fs::read_dir(above)? {
    ///         let group = entry?.path();
    ///         let name = group.file_name().unwrap_or_default().to_string_lossy();
    ///         let words: Vec<&str> = name.split('-').collect();
    ///         let ["offshoot", pid, _number] = words[..] else { continue };
    ///         if Path::new("/proc").join(pid).exists() {
    ///             continue;
    ///         }
    ///         fs::write(group.join("cgroup.kill"), "1")?;
    ///         // EBUSY, until the last process has ended.
    ///         for _ in 0..100 {
    ///             match fs::remove_dir(&group) {
    ///                 Err(e) if e.raw_os_error() == Some(16) => {
    ///                     thread::sleep(Duration::from_millis(10));
    ///                 }
    ///                 done => {
    ///                     done?;
    ///                     break;
    ///                 }
    ///             }
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// [`Child`]: crate::Child
    /// [`Child::kill_tree`]: crate::Child::kill_tree
    /// [`Process`]: crate::Process
    /// [`TreeKill::Complete`]: crate::TreeKill::Complete
    pub fn own_cgroup(&mut self, parent: impl Into<Cgroup>) -> &mut Command {
        self.options.launch.own_cgroup = Some(parent.into());
        self
    }
}

/// `write(cgroup.procs, "0")`: the child enters the group if clone could not
/// place it there. "0" means the writing process.
pub(crate) fn join_cgroup(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let launch = &plan.options().launch;
    match (&launch.cgroup, &launch.own_cgroup) {
        (None, None) => return Ok(()),
        (Some(_), Some(_)) => {
            let error =
                Error::new(Step::Cgroup, Cause::Conflict("own_cgroup"));
            return Err(error.with("cgroup"));
        }
        (None, Some(_)) if plan.in_place() => {
            let why = "nothing would remove the group after exec";
            return plan.refuse(Step::Cgroup, why, "own_cgroup");
        }
        _ => {}
    }
    let zero = fixed_strings::ZERO.into();
    let args = [Arg::Slot(slot::CGROUP_PROCS), zero, Arg::Value(1)];
    plan.step(Step::Cgroup, Operand::Cgroup)
        .call(libc::SYS_write, &args)
        .shown_as("write")
        .runs(|strategy| strategy.joins_cgroup);
    Ok(())
}
