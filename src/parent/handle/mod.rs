//! `Child`: a running program, and what becomes of it.

pub(crate) mod launch;
mod output;
pub(crate) mod pidfd;

use core::mem;

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::error::{Cause, Error, Step};
#[doc(no_inline)]
pub use super::std::process::{
    ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output,
};
use super::std::{os::fd::AsRawFd, os::unix::process::ExitStatusExt};
use crate::sys::call::{kill, reaped_status};
use crate::sys::wait::{Kind, Target, wait};
use crate::sys::{self, Pid};

use launch::Launch;
use pidfd::PidFd;

/// A running child.
///
/// Dropping it neither ends the program nor waits for it: the program goes
/// on, and if nobody waits for it, it stays in the process table as a zombie
/// until this process ends.
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
    /// Our end of its standard input, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// Our end of its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// Our end of its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
}

impl Child {
    pub(crate) fn new(
        pid: Pid,
        pidfd: Option<PidFd>,
        launch: Launch,
    ) -> Child {
        Child {
            pid,
            pidfd,
            launch,
            status: None,
            stdin: None,
            stdout: None,
            stderr: None,
        }
    }

    /// The process id. Once the child has been waited for, the kernel may
    /// give the same number to another process; [`Child::pidfd`] has no such
    /// end.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.get()
    }

    /// A descriptor for the process; `None` where the kernel has none to give
    /// (before Linux 5.2, or at RLIMIT_NOFILE: [`Child::launch`] says so).
    #[must_use]
    pub fn pidfd(&self) -> Option<&PidFd> {
        self.pidfd.as_ref()
    }

    /// The descriptor for the process, in place of this; this again, where
    /// there is none. Nothing waits for the child by that: it stays a zombie
    /// until somebody does ([`waitid(2)`] with P_PIDFD). The pipes are
    /// closed, unless they were taken.
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    ///
    /// # Errors
    ///
    /// The child, where the kernel had no pidfd to give.
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
        reason = "std's: the child itself comes back"
    )]
    pub fn into_pidfd(mut self) -> Result<PidFd, Child> {
        self.pidfd.take().ok_or(self)
    }

    /// What was used to make this child.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits for the child to end, after closing our end of its standard
    /// input so that it cannot wait for us. Further calls give the same
    /// status. Signals do not interrupt it.
    ///
    /// If somebody else has waited for the child (`waitpid(-1)`, or SIGCHLD
    /// ignored), the status is asked of the pidfd, which knows it from Linux
    /// 6.15 on.
    ///
    /// # Errors
    ///
    /// [`Step::Wait`], if the status went to somebody else and is lost.
    ///
    /// See [`waitid(2)`].
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        mem::drop(self.stdin.take());
        match self.reap(true)? {
            Some(status) => Ok(status),
            None => Err(Error::new(Step::Wait, Cause::StatusLost)),
        }
    }

    /// The status if the child has ended, `None` if it has not.
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

    /// Ends the child with SIGKILL; it still wants to be waited for. Nothing
    /// happens if it has ended already. Never reaches another process, as it
    /// goes through the pidfd; where there is none, only until it has been
    /// waited for.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] with EPERM, if the child has become somebody else's
    /// (a set-user-ID program).
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
            // The number is the child's as long as it is not waited for.
            None if self.status.is_some() => None,
            None => kill(self.pid, libc::SIGKILL).err().map(|e| e.0),
        };
        match errno {
            None | Some(libc::ESRCH) => Ok(()),
            Some(errno) => Err(Error::os(Step::Kill, errno)),
        }
    }
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Child>();
};
