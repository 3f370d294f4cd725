//! The option `cgroup`, and the step by which a child enters its group.

use crate::call::slot;
use crate::parent::command::{Cgroup, Command};
use crate::parent::error::{Error, Step};
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
}

/// `write(cgroup.procs, "0")`: the child enters the group if clone could not
/// place it there. "0" means the writing process.
pub(crate) fn join_cgroup(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if plan.options().launch.cgroup.is_none() {
        return Ok(());
    }
    let zero = fixed_strings::ZERO.into();
    let args = [Arg::Slot(slot::CGROUP_PROCS), zero, Arg::Value(1)];
    plan.step(Step::Cgroup, Operand::Cgroup)
        .call(libc::SYS_write, &args)
        .shown_as("write")
        .runs(|strategy| strategy.joins_cgroup);
    Ok(())
}
