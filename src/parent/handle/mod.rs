//! `Child`: a running program.

mod launch;
mod output;
mod pidfd;

use core::mem;

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::error::{Cause, Error, Step};
use super::std::os::fd::{AsRawFd, OwnedFd};
use super::std::os::unix::process::ExitStatusExt;
#[doc(no_inline)]
pub use super::std::process::{
    ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output,
};
use crate::sys::call::{kill, reaped_status};
use crate::sys::wait::{Kind, Target, wait};
use crate::sys::{self, Pid};

pub(crate) use launch::Fallbacks;
pub use launch::{CgroupEntry, Fallback, Launch};
pub use pidfd::PidFd;

/// A running child.
///
/// Dropping it neither kills the program nor waits for it. A program that is
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
    pid: Pid,
    pidfd: Option<PidFd>,
    status: Option<ExitStatus>,
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
        pid: Pid,
        pidfd: Option<PidFd>,
        launch: Launch,
        seccomp_listener: Option<OwnedFd>,
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
    ) -> Child {
        Child {
            pid,
            pidfd,
            status: None,
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
        self.pid.get()
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
        self.pidfd.as_ref()
    }

    /// Converts it into the descriptor for the process. You must still wait
    /// for the child ([`waitid(2)`] with P_PIDFD), or it remains a zombie. The
    /// pipes are closed, unless they were taken.
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    ///
    /// # Errors
    ///
    /// The `Child` itself, if it has no pidfd.
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
        self.pidfd.take().ok_or(self)
    }

    /// Returns how this child was created.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits until the child ends, after closing the parent's end of its
    /// standard input, so that the child does not wait for more. Further calls
    /// return the same status. Signals do not interrupt it. See [`waitid(2)`].
    ///
    /// If another thread has reaped the child (`waitpid(-1)`), or the kernel
    /// has as SIGCHLD is ignored, the status is read from the pidfd, which has
    /// it since Linux 6.15.
    ///
    /// # Errors
    ///
    /// [`Step::Wait`], if the child was reaped and its status is lost.
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        mem::drop(self.stdin.take());
        let status = self.reap(true)?;
        status.ok_or_else(|| Error::new(Step::Wait, Cause::StatusLost))
    }

    /// Returns the status if the child has ended, `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut cat = Command::new("/bin/cat").stdin(Stdio::piped()).spawn()?;
    /// assert!(cat.try_wait()?.is_none());
    /// drop(cat.stdin.take());
    /// assert!(cat.wait()?.success());
    /// assert!(cat.try_wait()?.is_some());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.reap(false)
    }

    fn reap(&mut self, block: bool) -> Result<Option<ExitStatus>, Error> {
        if self.status.is_some() {
            return Ok(self.status);
        }
        let pidfd = self.pidfd.as_ref().map(AsRawFd::as_raw_fd);
        let target = Target { pid: self.pid, pidfd };
        let status = match wait(target, Kind::Any, block) {
            Ok(None) => return Ok(None),
            Ok(Some(ended)) => ended.wait_status(),
            Err(sys::Errno(libc::ECHILD)) => pidfd
                .and_then(reaped_status)
                .ok_or_else(|| Error::new(Step::Wait, Cause::StatusLost))?,
            Err(errno) => return Err(Error::os(Step::Wait, errno.0)),
        };
        self.status = Some(ExitStatus::from_raw(status));
        Ok(self.status)
    }

    /// Sends SIGKILL to the child, if it has not ended. You must still call
    /// [`wait`](Child::wait). The signal is sent by the pidfd, so it never
    /// reaches another process; without a pidfd it is sent by the process id,
    /// and only before the child has been waited for.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] with EPERM, if the child belongs to another user (a
    /// set-user-ID program).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn kill(&self) -> Result<(), Error> {
        let errno = match &self.pidfd {
            Some(pidfd) => pidfd_send_signal(pidfd, Signal::KILL)
                .err()
                .map(Errno::raw_os_error),
            // The id is the child's until it has been waited for.
            None if self.status.is_some() => None,
            None => kill(self.pid, libc::SIGKILL).err().map(|e| e.0),
        };
        match errno {
            None | Some(libc::ESRCH) => Ok(()),
            Some(errno) => Err(Error::os(Step::Kill, errno)),
        }
    }
}
