//! `Detached`: a running program that is not a child of this process.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::signal_number::check_signal;
use super::waitable::{deadline_after, timespec};
use super::{ExitStatus, Launch, PidFd};
use crate::parent::error::{Error, Step};
use crate::parent::std::os::fd::{AsFd, AsRawFd};
use crate::parent::std::os::unix::process::ExitStatusExt;
use crate::parent::std::time::Instant;
use crate::sys::pidfd::{self, status_of_unseen};
use crate::sys::{Errno, Pid};

/// A running program whose parent is not this process, as
/// [`Command::detach`] and [`Command::spawn_sibling`] start it.
///
/// It leaves no zombie here, and its status belongs to its parent. All methods
/// use its pidfd, so none ever reaches another process; without one (Linux
/// before 5.2) signals and waits are errors. Dropping it does nothing.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Stdio};
/// use std::time::Duration;
///
/// let sleep = Command::new("sleep").arg("60").stdin(Stdio::null()).detach()?;
/// assert!(!sleep.wait_timeout(Duration::from_millis(5))?);
/// sleep.signal(15)?;
/// sleep.wait()?;
/// // The kernel tells it since Linux 6.15, once the parent has waited for it.
/// println!("{:?}", sleep.exit_status());
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Command::detach`]: crate::Command::detach
/// [`Command::spawn_sibling`]: crate::Command::spawn_sibling
#[derive(Debug)]
pub struct Detached {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Option<PidFd>,
    pub(crate) launch: Launch,
}

impl Detached {
    /// Returns the process id. Its parent reaps it, an init as soon as it has
    /// ended, and another process can get the same id from then on: send signals by
    /// [`Detached::pidfd`].
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.get()
    }

    /// Returns a descriptor for the process; `None` before Linux 5.2, or if no
    /// descriptor was free, which is one of [`Launch::fallbacks`].
    #[must_use]
    pub fn pidfd(&self) -> Option<&PidFd> {
        self.pidfd.as_ref()
    }

    /// Sends a signal, if it has not ended; numbers are from 1 to 64.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] for another number; without a pidfd; with EPERM, if it
    /// may not be signalled.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        check_signal(signal)?;
        match pidfd::signal(self.need(Step::Kill)?.as_raw_fd(), signal) {
            Ok(()) | Err(Errno(libc::ESRCH)) => Ok(()),
            Err(Errno(errno)) => Err(Error::os(Step::Kill, errno)),
        }
    }

    /// Sends SIGKILL, if it has not ended.
    ///
    /// # Errors
    ///
    /// As [`Detached::signal`].
    pub fn kill(&self) -> Result<(), Error> {
        self.signal(libc::SIGKILL)
    }

    /// Waits until it has ended. Signals do not interrupt it.
    ///
    /// A process that adopts orphans ([`set_child_subreaper`]) may be its
    /// parent, and then has to reap it: [`PidFd::wait`].
    ///
    /// # Errors
    ///
    /// [`Step::Wait`] without a pidfd, or where a seccomp filter rejects poll.
    ///
    /// [`set_child_subreaper`]: crate::set_child_subreaper
    pub fn wait(&self) -> Result<(), Error> {
        while !self.wait_timeout(Duration::MAX)? {}
        Ok(())
    }

    /// Waits for at most this long; returns whether it has ended.
    ///
    /// # Errors
    ///
    /// As [`Detached::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, Error> {
        let pidfd = self.need(Step::Wait)?;
        let deadline = deadline_after(timeout);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fds =
                [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(e) => return Err(Error::os(Step::Wait, e.raw_os_error())),
            }
        }
    }

    /// Returns how it has ended: once its parent has reaped it, if the kernel
    /// tells (Linux 6.15). `None` if it runs, or that is not known.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let status = status_of_unseen(self.pidfd.as_ref()?.as_raw_fd())?;
        Some(ExitStatus::from_raw(status))
    }

    fn need(&self, step: Step) -> Result<&PidFd, Error> {
        let why =
            "it has no pidfd, and another process may have its id by now";
        self.pidfd.as_ref().ok_or_else(|| Error::refused(step, why))
    }

    /// Returns how it was created.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }
}
