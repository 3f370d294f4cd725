//! The control group of the child.

use crate::call::slot;
use crate::parent::command::Command;
use crate::parent::command::cgroup::Cgroup;
use crate::parent::error::{Error, Step};
use crate::parent::plan::builder::{Arg, PlanBuilder};
use crate::parent::plan::fixed_strings;
use crate::parent::plan::step::Operand;

impl Command {
    /// The control group (version 2) that the child is born in, from its
    /// first instruction. Where the kernel cannot do that (before Linux
    /// 5.7, or clone3 is blocked) the child enters it by itself before exec;
    /// [`Launch::cgroup`](crate::Launch::cgroup) says which.
    ///
    /// A child of a frozen group is made with memory of its own, so that
    /// signals reach the caller; it runs, and the call returns, when the
    /// group is thawed.
    ///
    /// # Errors
    ///
    /// [`Step::Cgroup`](crate::Step::Cgroup) with the directory and:
    ///
    /// | errno | why |
    /// | --- | --- |
    /// | ENOENT, ENODEV | there is no such directory, or it was removed |
    /// | EBADF | it is no control group, or of version 1 |
    /// | EBUSY | it has controllers enabled for groups below it |
    /// | EOPNOTSUPP | it is threaded, or in an invalid domain |
    /// | EACCES | it is not delegated to the caller |
    /// | EAGAIN | it has as many processes as its pids.max allows |
    ///
    /// See [`cgroups(7)`].
    ///
    /// [`cgroups(7)`]: https://man7.org/linux/man-pages/man7/cgroups.7.html
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
    pub fn cgroup(&mut self, group: impl Into<Cgroup>) -> &mut Command {
        self.options.launch.cgroup = Some(group.into());
        self
    }
}

/// `write(cgroup.procs, "0")`: the child enters the group, where no clone
/// could place it there. "0" stands for the writer.
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
