//! `PidFd`: a descriptor that refers to a process.
#![allow(unsafe_code, reason = "a number that the caller keeps open")]

use crate::parent::std::os::fd::{
    AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd,
};

/// A descriptor that refers to the child. The kernel creates it together with
/// the child. Unlike a process id it never refers to another process.
///
/// It becomes readable, for poll and epoll, when the child ends
/// ([`pidfd_open(2)`]).
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
