//! `PidFd`: a descriptor that stands for one process and no other.

use crate::parent::std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A descriptor for the child, made by the kernel together with it: unlike
/// a process id it never comes to mean another process.
///
/// It is readable, for poll and epoll, once the child has ended
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
