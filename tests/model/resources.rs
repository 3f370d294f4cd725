//! Resources: std's names of a descriptor, of a moment, and of a pause.
#![allow(unsafe_code, reason = "a descriptor is a number, as in std")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::time::Duration;

use crate::kernel::{Fd, kernel};

#[derive(Debug)]
pub(crate) struct OwnedFd(RawFd);

impl OwnedFd {
    pub(crate) fn new(number: RawFd) -> OwnedFd {
        OwnedFd(number)
    }

    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        let process = kernel().lock().by_pidfd(self.0);
        Ok(kernel().open(Fd::Pidfd(process.expect("dup: EBADF"))))
    }
}

impl Drop for OwnedFd {
    fn drop(&mut self) {
        // loom stops at a second panic.
        if !std::thread::panicking() {
            kernel().lock().close(self.0);
        }
    }
}

impl AsRawFd for OwnedFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl AsFd for OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the model closes it when this is dropped; no real system
        // call gets the number.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl FromRawFd for OwnedFd {
    unsafe fn from_raw_fd(fd: RawFd) -> OwnedFd {
        OwnedFd(fd)
    }
}

impl IntoRawFd for OwnedFd {
    fn into_raw_fd(self) -> RawFd {
        std::mem::ManuallyDrop::new(self).0
    }
}

/// A moment of the model, whose time passes in pauses only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Instant {
        Instant(kernel().lock().now)
    }

    pub(crate) fn checked_add(self, time: Duration) -> Option<Instant> {
        self.0.checked_add(time).map(Instant)
    }

    pub(crate) fn saturating_duration_since(self, from: Instant) -> Duration {
        self.0.saturating_sub(from.0)
    }
}

pub(crate) fn sleep(time: Duration) {
    kernel().wait_until(Some(time), |_| None::<()>);
}
