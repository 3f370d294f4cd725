//! One safe function a system call: those that rustix does not offer.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::sync::atomic::AtomicU32;

use super::abi::{PidfdInfo, SIGSET_SIZE, SigInfo, Timespec};
use super::arch::syscall;
use super::{Errno, bits};

/// `CLD_DUMPED` and its fellows: how a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub(crate) code: i32,
    /// The exit code or the signal.
    pub(crate) status: i32,
}

impl Ended {
    /// The same as a classic wait status: `WEXITSTATUS` and friends apply.
    pub(crate) fn wait_status(self) -> i32 {
        match self.code {
            libc::CLD_EXITED => (self.status & 0xFF) << 8,
            libc::CLD_DUMPED => self.status | 0x80,
            _ => self.status,
        }
    }

    /// The signal that ended the child, if one did.
    pub(crate) fn signal(self) -> Option<i32> {
        (self.code != libc::CLD_EXITED).then_some(self.status)
    }
}

/// Sets the calling thread's mask and returns the one before. All 64
/// signals: libc's own function keeps 32 and 33 for itself.
pub(crate) fn set_signal_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    let how = libc::SIG_SETMASK.unsigned_abs();
    let args = [
        u64::from(how),
        (&raw const mask).expose_provenance() as u64,
        (&raw mut old).expose_provenance() as u64,
        SIGSET_SIZE,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the call reads the 8 bytes of `mask`
    // and writes the 8 of `old`, which both live to the end of this body.
    // Only a filter can refuse it; then the child's own row says so.
    unsafe { syscall(libc::SYS_rt_sigprocmask, args) };
    old
}

/// Waits for the end of a child that has not exec'd (`__WCLONE`): no other
/// wait sees it while its exit signal is 0. `Ok(None)`: it is still there.
///
/// ECHILD means that it has exec'd: exec makes it an ordinary child.
pub(crate) fn wait_clone(
    pidfd: i32,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let mut info = SigInfo::zeroed();
    let nohang = if block { 0 } else { libc::WNOHANG };
    let how = libc::WEXITED | libc::__WCLONE | nohang;
    let args = [
        u64::from(libc::P_PIDFD),
        bits(i64::from(pidfd)),
        (&raw mut info).expose_provenance() as u64,
        bits(i64::from(how)),
        0,
        0,
    ];
    loop {
        // SAFETY: clause 1 of `syscall`: the call writes one siginfo, and
        // `info` is one, alive to the end of this body.
        let result = unsafe { syscall(libc::SYS_waitid, args) };
        match Errno::of(result) {
            Some(Errno(libc::EINTR)) => {}
            Some(errno) => return Err(errno),
            None if info.pid == 0 => return Ok(None),
            None => {
                let ended = Ended { code: info.code, status: info.status };
                return Ok(Some(ended));
            }
        }
    }
}

/// Sleeps while `word` holds `value`, for `nanoseconds` at most. Not
/// private: the waker is the kernel, through another process's mapping.
pub(crate) fn futex_wait(
    word: &AtomicU32,
    value: u32,
    nanoseconds: i64,
) -> Result<(), Errno> {
    let limit = Timespec { sec: 0, nsec: nanoseconds };
    let wait = libc::FUTEX_WAIT.unsigned_abs();
    let args = [
        word.as_ptr().expose_provenance() as u64,
        u64::from(wait),
        u64::from(value),
        (&raw const limit).expose_provenance() as u64,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the call reads the word behind a live
    // reference and a timespec that lives to the end of this body.
    let result = unsafe { syscall(libc::SYS_futex, args) };
    Errno::of(result).map_or(Ok(()), Err)
}

/// The wait status of a process that somebody else reaped (Linux 6.15),
/// if the kernel still has it.
pub(crate) fn reaped_status(pidfd: i32) -> Option<i32> {
    let mut info = PidfdInfo { mask: PidfdInfo::EXIT, ..Default::default() };
    let args = [
        bits(i64::from(pidfd)),
        PidfdInfo::GET,
        (&raw mut info).expose_provenance() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the request number carries the size of
    // `PidfdInfo`, the kernel writes no more, and `info` is one.
    let result = unsafe { syscall(libc::SYS_ioctl, args) };
    let known = result == 0 && info.mask & PidfdInfo::EXIT != 0;
    known.then_some(info.exit_code)
}
