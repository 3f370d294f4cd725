//! `waitid` and `wait4`: the raw calls that wait for a child.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use super::abi::{Rusage, SigInfo};
use super::arch::syscall;
use super::ended::Ended;
use super::pidfd::wait_readable_for;
use super::{Errno, bits};

/// `waitid` for the end of a child.
pub(super) fn waitid(
    by: libc::idtype_t,
    id: i64,
    how: i32,
    block: bool,
    usage: Option<&mut Rusage>,
) -> Result<Option<Ended>, Errno> {
    waitid_for(by, id, libc::WEXITED | how, block, usage)
}

/// `waitid` for the changes that `how` has.
pub(super) fn waitid_for(
    by: libc::idtype_t,
    id: i64,
    how: i32,
    block: bool,
    usage: Option<&mut Rusage>,
) -> Result<Option<Ended>, Errno> {
    let mut info = SigInfo::zeroed();
    let nohang = if block { 0 } else { libc::WNOHANG };
    let args = [
        u64::from(by),
        bits(id),
        (&raw mut info).expose_provenance() as u64,
        bits(i64::from(how | nohang)),
        address_of(usage),
        0,
    ];
    loop {
        // SAFETY: clause 1 of `syscall`: the call writes one siginfo, and one
        // rusage unless it is NULL; `info` lives to the end of this body,
        // `usage` is borrowed.
        let result = unsafe { syscall(libc::SYS_waitid, args) };
        match Errno::of(result) {
            Some(Errno(libc::EINTR)) => {}
            // The pidfd has O_NONBLOCK (Linux 5.10).
            Some(Errno(libc::EAGAIN)) if block && by == libc::P_PIDFD => {
                wait_for_pidfd(id, how);
            }
            Some(errno) => return Err(errno),
            None if info.pid == 0 => return Ok(None),
            None => {
                let ended = Ended { code: info.code, status: info.status };
                return Ok(Some(ended));
            }
        }
    }
}

/// NULL, where nobody asks what the child has used: then the kernel does not add
/// it up.
fn address_of(usage: Option<&mut Rusage>) -> u64 {
    usage.map_or(0, |at| core::ptr::from_mut(at).expose_provenance() as u64)
}

/// As `waitid` by process id, on any kernel and in any filter. A stop of a child
/// that this process traces is no end: it goes on waiting.
pub(super) fn wait4(
    pid: i64,
    how: i32,
    block: bool,
    usage: Option<&mut Rusage>,
) -> Result<Option<Ended>, Errno> {
    let mut status = 0i32;
    let usage = address_of(usage);
    let nohang = if block { 0 } else { libc::WNOHANG };
    let how = bits(i64::from(how | nohang));
    let at = (&raw mut status).expose_provenance() as u64;
    loop {
        let args = [bits(pid), at, how, usage, 0, 0];
        // SAFETY: clause 1 of `syscall`: the call writes one int, and one
        // rusage unless it is NULL; `status` lives to the end of this body, the other is the
        // caller's.
        let result = unsafe { syscall(libc::SYS_wait4, args) };
        match Errno::of(result) {
            Some(Errno(libc::EINTR)) => {}
            Some(errno) => return Err(errno),
            None if result == 0 => return Ok(None),
            None if libc::WIFSTOPPED(status) && block => {}
            None if libc::WIFSTOPPED(status) => return Ok(None),
            None => return Ok(Some(Ended::from_wait_status(status))),
        }
    }
}

/// Pauses until a pidfd is readable, at the end of its process; for a while
/// only, if the wait is for stops too, which no poll sees.
fn wait_for_pidfd(pidfd: i64, how: i32) {
    const LOOK_AGAIN: u32 = 10;
    let Ok(pidfd) = i32::try_from(pidfd) else { return };
    let stops = how & (libc::WSTOPPED | libc::WCONTINUED) != 0;
    wait_readable_for(pidfd, stops.then_some(LOOK_AGAIN));
}
