//! `Child`: a running program.

mod any_child;
mod communicate;
mod descendants;
mod detached;
mod events;
mod exchange;
mod kill_group;
mod kill_tree;
mod launch;
mod lines;
mod on_drop;
mod output;
mod output_error;
mod output_limits;
mod pidfd;
mod pidfd_info;
mod process;
mod shared;
mod signal_number;
mod sigpipe;
mod stat;
mod subreaper;
mod terminate_tree;
mod usage;
mod wait_set;
mod waitable;
mod waiting;

use super::std::os::fd::OwnedFd;
#[doc(no_inline)]
pub use super::std::process::{
    ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output,
};
#[cfg(feature = "tokio")]
use crate::sys::CloneFlags;
#[cfg(feature = "tokio")]
pub(crate) use crate::sys::fork_detection::Owner;
use shared::{Handle, OnDrop};
pub(crate) use waitable::{Waitable, deadline_after};

pub use any_child::wait_any;
pub use detached::Detached;
pub use events::{ChildEvent, ChildEvents};
pub use exchange::OutputStream;
pub use kill_tree::TreeKill;
pub(crate) use launch::Fallbacks;
pub use launch::{CgroupEntry, Fallback, Launch};
pub(crate) use on_drop::reap_dropped;
pub use output_error::{OutputError, OutputLimit, OutputText};
pub use output_limits::Limits;
pub use pidfd::PidFd;
pub use pidfd_info::{Namespace, PidFdInfo};
pub use process::Process;
pub use subreaper::{child_subreaper, set_child_subreaper};
pub use usage::Rusage;
pub use wait_set::WaitSet;

/// A running child.
///
/// Dropping it neither kills the program nor waits for it, unless
/// [`Child::kill_on_drop`] or [`Child::reap_on_drop`] is set. A program that is
/// not waited for remains as a zombie until this process ends.
///
/// # Examples
///
/// ```
/// let mut child = offshoot::Command::new("/bin/true").spawn()?;
/// assert!(child.wait()?.success());
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    handle: Handle,
    on_drop: OnDrop,
    launch: Launch,
    seccomp_listener: Option<OwnedFd>,
    /// The parent's end of its standard input, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The parent's end of its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The parent's end of its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    pub(crate) fn new(
        waitable: Waitable,
        launch: Launch,
        seccomp_listener: Option<OwnedFd>,
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
    ) -> Child {
        Child {
            handle: Handle::Own(waitable),
            on_drop: OnDrop::Nothing,
            launch,
            seccomp_listener,
            stdin: stdin.map(Into::into),
            stdout: stdout.map(Into::into),
            stderr: stderr.map(Into::into),
        }
    }

    /// Returns the process id. Once the child has been waited for, another
    /// process can get the same id; [`Child::pidfd`] never refers to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.handle.get().pid.get()
    }

    /// Returns the process group that the child was put in: its own id with a
    /// new session or group, else that of [`Command::process_group`]. `None` if
    /// it is in the group of the thread that spawned it.
    ///
    /// As [`Child::id`], it stays the child's only until the child has been
    /// waited for and the rest of the group has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// // Two programs in one group, as in a pipeline of a shell.
    /// let mut first = Command::new("echo").stdout(Stdio::piped()).process_group(0).spawn()?;
    /// let group = first.process_group().unwrap();
    /// let mut second = Command::new("cat");
    /// second.stdin(first.stdout.take().unwrap()).process_group(group);
    /// let mut second = second.spawn()?;
    /// assert_eq!(second.process_group(), Some(group));
    /// assert!(first.wait()?.success() && second.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Command::process_group`]: crate::Command::process_group
    #[must_use]
    pub fn process_group(&self) -> Option<i32> {
        self.launch.process_group
    }

    /// Takes the descriptor that notifies of the child's calls, of
    /// [`Command::seccomp_with_listener`], where there is an example. `None`
    /// without that option, and from the second call on.
    ///
    /// While no process has it, the kernel fails the calls of which it would
    /// notify with ENOSYS.
    ///
    /// [`Command::seccomp_with_listener`]: crate::Command::seccomp_with_listener
    #[must_use = "without it the calls fail with ENOSYS"]
    pub fn take_seccomp_listener(&mut self) -> Option<OwnedFd> {
        self.seccomp_listener.take()
    }

    /// Returns a descriptor for the process; `None` before Linux 5.2, or if no
    /// descriptor was free, which is one of [`Launch::fallbacks`].
    #[must_use]
    pub fn pidfd(&self) -> Option<&PidFd> {
        self.handle.get().pidfd.as_ref()
    }

    /// Converts it into the descriptor for the process. You must still wait
    /// for the child ([`waitid(2)`] with P_PIDFD), or it remains a zombie,
    /// unless the kernel reaps it ([`Command::autoreap`]). The pipes are
    /// closed, unless they were taken.
    ///
    /// [`Command::autoreap`]: crate::Command::autoreap
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    ///
    /// # Errors
    ///
    /// The `Child` itself, if it has no pidfd, or if a [`Process`] has it too
    /// and no descriptor is free for a copy.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    /// use rustix::process::{WaitId, WaitIdOptions, waitid};
    /// use std::os::fd::AsFd;
    ///
    /// let child = Command::new("/bin/true").spawn()?;
    /// match child.into_pidfd() {
    ///     Ok(pidfd) => {
    ///         let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    ///         assert_eq!(ended?.unwrap().exit_status(), Some(0));
    ///     }
    ///     Err(mut child) => assert!(child.wait()?.success()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(
        clippy::result_large_err,
        reason = "the error is the child itself"
    )]
    pub fn into_pidfd(mut self) -> Result<PidFd, Child> {
        let pidfd = match &mut self.handle {
            Handle::Own(own) => own.pidfd.take(),
            Handle::Shared(shared) => {
                let pidfd = shared.pidfd.as_ref();
                pidfd.and_then(|pidfd| pidfd.try_clone().ok())
            }
        };
        let Some(pidfd) = pidfd else { return Err(self) };
        self.on_drop = OnDrop::Nothing;
        Ok(pidfd)
    }

    /// Whether the kernel kills it once its pidfd is closed.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_killed_by_kernel(&self) -> bool {
        self.launch.flags.contains(CloneFlags::PIDFD_AUTOKILL)
    }

    /// Returns how this child was created.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }
}

#[cfg(test)]
mod tests {
    use super::on_drop::{ANY, DROPPED, reap_dropped};
    use crate::parent::command::Command;
    use crate::parent::std::sync::atomic::Ordering;
    use crate::sys::fork_detection::in_fork;

    fn drop_one_that_runs() {
        let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
        sleep.kill_on_drop(true);
    }

    #[test]
    fn a_drop_in_a_fork_does_not_wait_for_a_thread_that_it_lacks() {
        drop_one_that_runs();
        let held = DROPPED.lock().unwrap();
        let status = in_fork(drop_one_that_runs);
        drop(held);
        assert_eq!(status, 0);
    }

    /// In a fork, it is held by a thread that is missing.
    #[test]
    fn a_list_of_dropped_children_that_is_locked_is_not_waited_for() {
        let held = DROPPED.lock().unwrap();
        ANY.store(true, Ordering::Relaxed);
        reap_dropped();
        drop(held);
        reap_dropped();
    }
}
