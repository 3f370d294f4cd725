//! Descriptors by number: what the calling thread's descriptor table has
//! there, whichever code owns it.
#![allow(unsafe_code, reason = "borrows a number for one call")]

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{
    DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_getfd,
    fcntl_setfd,
};

use super::arch::syscall;
use super::{Errno as RawErrno, safe};

/// Whether `close_range` is available, and if `marks` with
/// `CLOSE_RANGE_CLOEXEC` (Linux 5.11): a call for the last number, at which
/// nothing can be open.
pub(crate) fn close_range_probe(marks: bool) -> Result<(), RawErrno> {
    let (last, marks) = (u64::from(u32::MAX), u64::from(marks) << 2);
    let args = [last, last, marks, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: numbers, and no descriptor is affected.
    let result = unsafe { syscall(libc::SYS_close_range, args) };
    RawErrno::of(result).map_or(Ok(()), Err)
}

/// The identity of an open file, from `fstat`. Different files have the same
/// one only where the kernel has a single inode for a kind of them (eventfd,
/// epoll, timerfd; pidfds before Linux 6.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Inode {
    /// Returns `None` if the descriptor is closed or `fstat` is rejected.
    pub(crate) fn of(fd: impl AsFd) -> Option<Inode> {
        let stat = fstat(fd).ok()?;
        Some(Inode { device: stat.st_dev, number: stat.st_ino })
    }

    pub(crate) fn at(number: u32) -> Option<Inode> {
        Inode::of(borrow(number)?)
    }

    /// Whether the calling thread's table has this file at a number.
    pub(crate) fn is_at(self, number: u32) -> bool {
        Inode::at(number) == Some(self)
    }
}

/// An end of a pipe or a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pipe {
    pub(crate) inode: Inode,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

/// Returns `None` if the file at a number is no pipe.
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

/// Whether the descriptor at a number is close-on-exec.
pub(crate) fn is_cloexec(number: u32) -> Result<bool, Errno> {
    let flags = fcntl_getfd(borrow(number).ok_or(Errno::BADF)?)?;
    Ok(flags.contains(FdFlags::CLOEXEC))
}

pub(crate) fn set_cloexec(number: u32, on: bool) -> Result<(), Errno> {
    let flags = if on { FdFlags::CLOEXEC } else { FdFlags::empty() };
    fcntl_setfd(borrow(number).ok_or(Errno::BADF)?, flags)
}

/// Duplicates a number to the lowest free one at or above `least`,
/// close-on-exec.
pub(crate) fn copy(number: u32, least: u32) -> Result<OwnedFd, Errno> {
    let least = i32::try_from(least).map_err(|_| Errno::MFILE)?;
    dup_above(borrow(number).ok_or(Errno::BADF)?, least)
}

/// As `copy`, of a descriptor.
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

/// Replaces an open number by a copy of `fd`, atomically. The file that was
/// open there is closed, whichever code owns it.
pub(crate) fn put(
    fd: BorrowedFd<'_>,
    number: u32,
    cloexec: bool,
) -> Result<(), Errno> {
    let flags = if cloexec { DupFlags::CLOEXEC } else { DupFlags::empty() };
    let to = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: the owner exists for this call only and is not dropped, so it
    // closes nothing.
    let mut to = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(to) });
    put_over(fd, &mut to, flags)
}

/// Replaces `to` by a copy of `fd`, at the same number, atomically.
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

/// Closes a number, whichever code owns it.
pub(crate) fn close(number: u32) {
    if let Ok(number) = i32::try_from(number) {
        let _ = safe::close(number);
    }
}

fn borrow(number: u32) -> Option<BorrowedFd<'static>> {
    let number = i32::try_from(number).ok()?;
    // SAFETY: the number is 0 or above, and the callers in this file use it
    // for one system call, which fails with EBADF if it is closed.
    Some(unsafe { BorrowedFd::borrow_raw(number) })
}
