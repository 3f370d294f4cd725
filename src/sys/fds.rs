//! Descriptors by their number: what a thread's table has there, whoever
//! owns it.
#![allow(unsafe_code, reason = "numbers are borrowed for one call")]

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{
    DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_getfd,
    fcntl_setfd,
};

use super::safe;

/// Which file a descriptor is open on, as `fstat` tells. Two files have the
/// same only where the kernel has one inode for all of a kind (eventfd,
/// epoll, timers; pidfds before Linux 6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Inode {
    /// `None` if nothing is open there, or it may not be asked.
    pub(crate) fn of(fd: impl AsFd) -> Option<Inode> {
        let stat = fstat(fd).ok()?;
        Some(Inode { device: stat.st_dev, number: stat.st_ino })
    }

    pub(crate) fn at(number: u32) -> Option<Inode> {
        Inode::of(borrow(number)?)
    }

    /// Whether this thread's table has that file at a number.
    pub(crate) fn is_at(self, number: u32) -> bool {
        Inode::at(number) == Some(self)
    }
}

/// An end of a pipe, or of a named one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pipe {
    pub(crate) inode: Inode,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

/// `None` if what is open at a number is no pipe.
pub(crate) fn pipe(number: u32) -> Option<Pipe> {
    let fd = borrow(number)?;
    let stat = fstat(fd).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
        return None;
    }
    let flags = fcntl_getfl(fd).ok()?;
    let open = !flags.contains(OFlags::PATH);
    let mode = flags & OFlags::RWMODE;
    Some(Pipe {
        inode: Inode { device: stat.st_dev, number: stat.st_ino },
        reads: open && mode != OFlags::WRONLY,
        writes: open && mode != OFlags::RDONLY,
    })
}

/// Whether exec closes what is open at a number.
pub(crate) fn is_cloexec(number: u32) -> Result<bool, Errno> {
    let flags = fcntl_getfd(borrow(number).ok_or(Errno::BADF)?)?;
    Ok(flags.contains(FdFlags::CLOEXEC))
}

pub(crate) fn set_cloexec(number: u32, on: bool) -> Result<(), Errno> {
    let flags = if on { FdFlags::CLOEXEC } else { FdFlags::empty() };
    fcntl_setfd(borrow(number).ok_or(Errno::BADF)?, flags)
}

/// A close-on-exec copy at the first free number that is `least` or above.
pub(crate) fn copy(number: u32, least: u32) -> Result<OwnedFd, Errno> {
    let least = i32::try_from(least).map_err(|_| Errno::MFILE)?;
    dup_above(borrow(number).ok_or(Errno::BADF)?, least)
}

/// The same of a descriptor.
pub(crate) fn dup_above(
    fd: impl AsFd,
    least: RawFd,
) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(fd, least).map_err(|e| match e {
        // `least` is not below RLIMIT_NOFILE.
        Errno::INVAL => Errno::MFILE,
        e => e,
    })
}

/// Makes a number that is open a copy of `fd`, in one step. What was there
/// is closed, whoever owns it.
pub(crate) fn put(
    fd: BorrowedFd<'_>,
    number: u32,
    cloexec: bool,
) -> Result<(), Errno> {
    let flags = if cloexec { DupFlags::CLOEXEC } else { DupFlags::empty() };
    let to = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: an owner is needed for the call alone; it is not dropped, so
    // nothing is closed by it.
    let mut to = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(to) });
    put_over(fd, &mut to, flags)
}

/// Makes `to` a copy of `fd`, at its own number, in one step.
pub(crate) fn put_over(
    fd: BorrowedFd<'_>,
    to: &mut OwnedFd,
    flags: DupFlags,
) -> Result<(), Errno> {
    loop {
        match dup3(fd, to, flags) {
            // EBUSY: another thread is opening a file at that number.
            Err(Errno::INTR | Errno::BUSY) => {}
            done => return done,
        }
    }
}

/// Closes what is open at a number, whoever owns it.
pub(crate) fn close(number: u32) {
    if let Ok(number) = i32::try_from(number) {
        let _ = safe::close(number);
    }
}

fn borrow(number: u32) -> Option<BorrowedFd<'static>> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: the number is 0 or above, and is used for one system call by
    // whoever asks here: where nothing is open there, that says EBADF.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}
