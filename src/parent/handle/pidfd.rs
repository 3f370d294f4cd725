//! `PidFd`: a descriptor that refers to a process.
#![allow(unsafe_code, reason = "a number that the caller keeps open")]

use super::pidfd_info::ALL;
use super::signal_number::check_signal;
use super::{ExitStatus, Namespace, PidFdInfo};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::io;
use crate::parent::std::os::fd::{
    AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd,
};
use crate::parent::std::os::unix::process::ExitStatusExt;
use crate::parent::std::string::ToString;
use crate::sys::wait::wait_by_pidfd_only;
use crate::sys::{self, Errno, Pid, pidfd};

/// A descriptor that refers to a process. Unlike a process id it never refers
/// to another one. The kernel creates that of a child together with the child
/// ([`Child::pidfd`]); [`PidFd::open`] makes one for any process.
///
/// It becomes readable, for poll and epoll, when the process ends
/// ([`pidfd_open(2)`]).
///
/// [`Child::pidfd`]: crate::Child::pidfd
///
/// [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
///
/// # Examples
///
/// ```
/// use std::os::fd::AsRawFd;
///
/// let mut child = offshoot::Command::new("/bin/true").spawn()?;
/// assert!(child.pidfd().unwrap().as_raw_fd() > 2);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
pub struct PidFd(pub(crate) OwnedFd);

impl PidFd {
    /// Opens one for the process that has this id now; 0 is none. The caller
    /// must know that the id is still that of the process it means: a child
    /// that has not been waited for, for example (Linux 5.3).
    ///
    /// # Errors
    ///
    /// [`Step::Pidfd`] with the id: for 0 and above 2^31 - 1; with ESRCH, if
    /// there is no such process; with EINVAL, if it is a thread and no
    /// process; with EMFILE or ENFILE; with ENOSYS before Linux 5.3.
    ///
    /// # Examples
    ///
    /// ```
    /// let own = offshoot::PidFd::open(std::process::id())?;
    /// own.signal(28)?; // SIGWINCH, which is ignored by default
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    pub fn open(pid: u32) -> Result<PidFd, Error> {
        let fail = |error: Error| Err(error.with(pid.to_string()));
        let Some(pid) = Pid::new(pid.into()) else {
            return fail(Error::refused(Step::Pidfd, "it is no process id"));
        };
        match pidfd::open(pid) {
            Ok(fd) => Ok(owned(fd)),
            Err(Errno(errno)) => fail(Error::os(Step::Pidfd, errno)),
        }
    }

    /// Duplicates the descriptor, with close-on-exec.
    ///
    /// # Errors
    ///
    /// EMFILE, as std's [`OwnedFd::try_clone`].
    pub fn try_clone(&self) -> io::Result<PidFd> {
        self.0.try_clone().map(PidFd)
    }

    /// Waits until the process ends, and reaps it; it must be a child of this
    /// process. If it has been reaped before, its status is that which the
    /// kernel keeps (Linux 6.15).
    ///
    /// # Errors
    ///
    /// [`Step::Wait`] with ECHILD, if it is no child of this process; if it was
    /// reaped before, and its status is lost; with EINVAL before Linux 5.4.
    ///
    /// # Examples
    ///
    /// ```
    /// let child = offshoot::Command::new("true").spawn()?;
    /// if let Ok(pidfd) = child.into_pidfd() {
    ///     assert!(pidfd.wait()?.success());
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        let status = self.reap(true)?;
        status.ok_or_else(|| Error::new(Step::Wait, Cause::StatusLost))
    }

    /// Returns the status if the process has ended, `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`PidFd::wait`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, Error> {
        self.reap(false)
    }

    fn reap(&self, block: bool) -> Result<Option<ExitStatus>, Error> {
        const NO_CHILD: &str = "it is no child of this process";
        let status = match wait_by_pidfd_only(self.as_raw_fd(), block) {
            Ok(ended) => ended.map(sys::wait::Ended::wait_status),
            Err(Errno(libc::ECHILD)) => {
                let status = pidfd::status_of_unseen(self.as_raw_fd());
                // EPERM: it is another user's.
                let sent = pidfd::signal(self.as_raw_fd(), 0);
                let runs = sent != Err(Errno(libc::ESRCH));
                match status {
                    Some(status) => Some(status),
                    None if runs => {
                        return Err(Error::explained(
                            Step::Wait,
                            libc::ECHILD,
                            NO_CHILD,
                        ));
                    }
                    None => {
                        return Err(Error::new(Step::Wait, Cause::StatusLost));
                    }
                }
            }
            Err(Errno(errno)) => return Err(Error::os(Step::Wait, errno)),
        };
        Ok(status.map(ExitStatus::from_raw))
    }

    /// Sends a signal, a number from 1 to 64 ([`pidfd_send_signal(2)`], Linux
    /// 5.1).
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] for another number; with ESRCH, if the process has ended
    /// and been reaped; with EPERM, if it may not be signalled.
    ///
    /// [`pidfd_send_signal(2)`]: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        check_signal(signal)?;
        let sent = pidfd::signal(self.as_raw_fd(), signal);
        sent.map_err(|Errno(errno)| Error::os(Step::Kill, errno))
    }

    /// Returns what the kernel tells of the process (Linux 6.13).
    ///
    /// # Errors
    ///
    /// [`Step::Pidfd`] with ENOTTY, EINVAL or EOPNOTSUPP before Linux 6.13; with
    /// ESRCH, if it was reaped and the kernel keeps nothing of it.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("true").spawn()?;
    /// let pidfd = child.pidfd().unwrap();
    /// if let Ok(info) = pidfd.info() {
    ///     assert_eq!(info.pid(), Some(child.id()));
    /// }
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn info(&self) -> Result<PidFdInfo, Error> {
        let info = pidfd::info(self.as_raw_fd(), ALL);
        let fail = |Errno(errno)| Error::os(Step::Pidfd, errno);
        info.map(PidFdInfo).map_err(fail)
    }

    /// Copies a descriptor of the process into this one, with close-on-exec
    /// ([`pidfd_getfd(2)`], Linux 5.6).
    ///
    /// # Errors
    ///
    /// [`Step::Pidfd`] with the number: with EBADF, if it is not open there;
    /// with EPERM without the right to trace the process; with ESRCH, if it has
    /// ended.
    ///
    /// [`pidfd_getfd(2)`]: https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html
    pub fn getfd(&self, target: RawFd) -> Result<OwnedFd, Error> {
        let got = pidfd::getfd(self.as_raw_fd(), target);
        let fail = |Errno(errno)| {
            Error::os(Step::Pidfd, errno).with(target.to_string())
        };
        got.map(|fd| owned(fd).0).map_err(fail)
    }

    /// Opens a namespace of the process, for [`setns(2)`] (Linux 6.11).
    ///
    /// # Errors
    ///
    /// [`Step::Pidfd`] with ENOTTY or EINVAL before Linux 6.11; with
    /// EOPNOTSUPP, if the kernel is built without it; with EACCES or EPERM
    /// without the right to trace the process; with ESRCH, if it has ended.
    ///
    /// [`setns(2)`]: https://man7.org/linux/man-pages/man2/setns.2.html
    pub fn namespace(&self, kind: Namespace) -> Result<OwnedFd, Error> {
        let opened = pidfd::namespace(self.as_raw_fd(), kind as u8);
        let fail = |Errno(errno)| Error::os(Step::Pidfd, errno);
        opened.map(|fd| owned(fd).0).map_err(fail)
    }
}

/// A descriptor that the kernel has made for this process.
fn owned(fd: i32) -> PidFd {
    // SAFETY: the descriptor is new, and no other code knows its number.
    PidFd(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> OwnedFd {
        pidfd.0
    }
}

/// It should be a pidfd: otherwise operations on it fail.
impl From<OwnedFd> for PidFd {
    fn from(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }
}

impl IntoRawFd for PidFd {
    fn into_raw_fd(self) -> RawFd {
        self.0.into_raw_fd()
    }
}

/// Clause 1: the caller owns the number, which is open, and passes ownership
/// of it, so that no other code closes it.
impl FromRawFd for PidFd {
    unsafe fn from_raw_fd(fd: RawFd) -> PidFd {
        // SAFETY: clause 1 of this function, as the caller guarantees.
        PidFd(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
