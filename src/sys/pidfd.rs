//! Pidfds: what the kernel does with a process that a descriptor refers to.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::abi::PidfdInfo;
use super::arch::syscall;
use super::{Errno, Pid, bits};

/// `PIDFD_SIGNAL_PROCESS_GROUP` (Linux 6.9).
const PROCESS_GROUP: u64 = 1 << 2;

/// Opens a close-on-exec pidfd of a process (Linux 5.3).
pub(crate) fn open(pid: Pid) -> Result<i32, Errno> {
    let args = [u64::from(pid.get()), 0, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers.
    fd(unsafe { syscall(libc::SYS_pidfd_open, args) })
}

/// Sends a signal to the process.
pub(crate) fn signal(pidfd: i32, signal: i32) -> Result<(), Errno> {
    send(pidfd, signal, 0)
}

/// Whether signals by pidfd reach the kernel.
pub(crate) fn can_signal() -> bool {
    try_signal(i32::MAX, 0).is_some()
}

/// As `signal`; `None` where signals by pidfd do not reach the kernel: before
/// Linux 5.1, or where a seccomp filter rejects them.
pub(crate) fn try_signal(
    pidfd: i32,
    signal: i32,
) -> Option<Result<(), Errno>> {
    try_send(pidfd, signal, 0)
}

/// As `try_signal`, to the process group that the process leads, or led; `None`
/// before Linux 6.9.
pub(crate) fn try_signal_group(
    pidfd: i32,
    signal: i32,
) -> Option<Result<(), Errno>> {
    try_send(pidfd, signal, PROCESS_GROUP)
}

fn try_send(pidfd: i32, signal: i32, flags: u64) -> Option<Result<(), Errno>> {
    match send(pidfd, signal, flags) {
        // EBADF for a closed descriptor: the call exists.
        Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM))
            if send(i32::MAX, signal, flags) != Err(Errno(libc::EBADF)) =>
        {
            None
        }
        sent => Some(sent),
    }
}

fn send(pidfd: i32, signal: i32, flags: u64) -> Result<(), Errno> {
    let signal = u64::from(signal.unsigned_abs());
    let args = [bits(pidfd.into()), signal, 0, flags, 0, 0];
    // SAFETY: clause 1 of `syscall`: numbers, and no siginfo.
    let result = unsafe { syscall(libc::SYS_pidfd_send_signal, args) };
    Errno::of(result).map_or(Ok(()), Err)
}

/// Copies a descriptor of the process into this one, with close-on-exec
/// (Linux 5.6).
pub(crate) fn getfd(pidfd: i32, target: i32) -> Result<i32, Errno> {
    let args = [bits(pidfd.into()), bits(target.into()), 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers.
    fd(unsafe { syscall(libc::SYS_pidfd_getfd, args) })
}

/// Opens a namespace of the process, by the number of the request (Linux
/// 6.11).
pub(crate) fn namespace(pidfd: i32, request: u8) -> Result<i32, Errno> {
    // _IO(PIDFS_IOCTL_MAGIC, request)
    let request = 0xFF00 | u64::from(request);
    let args = [bits(pidfd.into()), request, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: these requests take no argument.
    fd(unsafe { syscall(libc::SYS_ioctl, args) })
}

/// What the kernel tells of the process, as much of it as there is; `mask` of
/// the result says which fields are filled (Linux 6.13).
pub(crate) fn info(pidfd: i32, mask: u64) -> Result<PidfdInfo, Errno> {
    let mut info = PidfdInfo { mask, ..Default::default() };
    let args = [
        bits(pidfd.into()),
        PidfdInfo::GET,
        (&raw mut info).expose_provenance() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the request number carries the size of
    // `PidfdInfo`, the kernel writes no more, and `info` is one.
    let result = unsafe { syscall(libc::SYS_ioctl, args) };
    Errno::of(result).map_or(Ok(info), Err)
}

/// As `reaped_status`, for a process that no wait sees any more, which may be
/// about to be reaped: the kernel has its status a moment later.
pub(crate) fn status_of_unseen(pidfd: i32) -> Option<i32> {
    // An ended child of another process may never be reaped.
    let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    for _ in 0..LOOKS {
        match info(pidfd, PidfdInfo::EXIT) {
            Ok(info) if info.mask & PidfdInfo::EXIT != 0 => {
                return Some(info.exit_code);
            }
            // ESRCH: it lost its ids between two looks of the kernel.
            Ok(_) | Err(Errno(libc::ESRCH)) if is_readable(pidfd) => {
                if !poll_for(pidfd, PollFlags::empty(), Some(&limit)) {
                    break;
                }
            }
            _ => break,
        }
    }
    reaped_status(pidfd)
}

/// How often the status of a process is looked for that is about to be reaped.
/// Once it has been, the kernel has it or never will (before Linux 6.15).
const LOOKS: usize = 3;

/// Returns the wait status of a process that was reaped elsewhere (Linux 6.15),
/// if the kernel still has it.
pub(crate) fn reaped_status(pidfd: i32) -> Option<i32> {
    let info = info(pidfd, PidfdInfo::EXIT).ok()?;
    (info.mask & PidfdInfo::EXIT != 0).then_some(info.exit_code)
}

/// Whether a pidfd is readable: its process has ended.
pub(crate) fn is_readable(pidfd: i32) -> bool {
    poll_once(pidfd, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
}

/// Waits until a pidfd is readable. Returns early if a signal interrupts the
/// wait or a seccomp filter rejects it.
pub(crate) fn wait_until_readable(pidfd: i32) {
    poll_once(pidfd, None);
}

/// As `wait_until_readable`, for at most so many milliseconds.
pub(crate) fn wait_readable_for(pidfd: i32, milliseconds: Option<u32>) {
    let limit = milliseconds.map(|time| Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(time) * 1_000_000,
    });
    poll_once(pidfd, limit.as_ref());
}

/// Waits until a process has been reaped, which hangs up its pidfd (Linux 6.9)
/// and is after the kernel has stored its status; without `block` it only
/// looks. Signals do not interrupt it.
pub(crate) fn wait_for_hang_up(
    pidfd: i32,
    block: bool,
) -> Result<bool, Errno> {
    // SAFETY: the caller passes the number of a pidfd that it keeps open
    // during this call.
    let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let limit = (!block).then_some(&now);
    loop {
        // A hang-up needs not be asked for.
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::empty())];
        match poll(&mut fds, limit) {
            Ok(0) if block => {}
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Errno(e.raw_os_error())),
        }
    }
}

fn poll_once(pidfd: i32, timeout: Option<&Timespec>) -> bool {
    poll_for(pidfd, PollFlags::IN, timeout)
}

fn poll_for(pidfd: i32, events: PollFlags, limit: Option<&Timespec>) -> bool {
    // SAFETY: the caller passes the number of a pidfd that it keeps open
    // during this call.
    let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let mut fds = [PollFd::from_borrowed_fd(pidfd, events)];
    poll(&mut fds, limit).is_ok_and(|ready| ready != 0)
}

fn fd(result: i64) -> Result<i32, Errno> {
    match Errno::of(result) {
        Some(errno) => Err(errno),
        None => i32::try_from(result).map_err(|_| Errno(libc::EBADF)),
    }
}
