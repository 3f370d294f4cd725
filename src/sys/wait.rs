//! Waiting for one process: by its descriptor, else by its number.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::sync::atomic::{AtomicBool, Ordering};

use super::abi::SigInfo;
use super::arch::syscall;
use super::{Errno, Pid, bits};

/// `CLD_DUMPED` and its fellows: how a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`.
    pub(crate) code: i32,
    /// The exit code or the signal.
    pub(crate) status: i32,
}

impl Ended {
    /// A classic wait status, taken apart.
    pub(crate) fn of(status: i32) -> Ended {
        if libc::WIFEXITED(status) {
            let status = libc::WEXITSTATUS(status);
            return Ended { code: libc::CLD_EXITED, status };
        }
        let dumped = libc::WCOREDUMP(status);
        let code = if dumped { libc::CLD_DUMPED } else { libc::CLD_KILLED };
        Ended { code, status: libc::WTERMSIG(status) }
    }

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

/// A process as a wait names it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Option<i32>,
}

/// Which children a wait sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those whose end raises nothing: made with exit signal 0, and not
    /// exec'd since.
    Silent,
    /// Ordinary ones too, whose end raises SIGCHLD.
    Any,
}

impl Kind {
    fn flag(self) -> i32 {
        match self {
            Kind::Silent => libc::__WCLONE,
            Kind::Any => libc::__WALL,
        }
    }
}

/// Whether another thread has reaped a child of ours, or the kernel has, as
/// SIGCHLD is ignored: it may well do it again.
static REAPED: AtomicBool = AtomicBool::new(false);

pub(crate) fn others_reap() -> bool {
    REAPED.load(Ordering::Relaxed)
}

/// Takes note of an answer to a wait for a child that has not been reaped
/// here.
fn seen(answer: Result<Option<Ended>, Errno>, how: i32) {
    // Not of that kind, else.
    let any = how & libc::__WALL != 0;
    if any && answer == Err(Errno(libc::ECHILD)) {
        REAPED.store(true, Ordering::Relaxed);
    }
}

/// Waits for the end of a child. `Ok(None)`: it is still there. ECHILD: it
/// is not a child of that kind, or somebody else has waited for it.
///
/// By number only where there is no descriptor, or the kernel does not wait
/// by one (before Linux 5.4), or a filter refuses that.
pub(crate) fn wait(
    target: Target,
    kind: Kind,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let how = kind.flag();
    if let Some(answer) = by_descriptor(target, how, block) {
        return answer;
    }
    let pid = i64::from(target.pid.get());
    match waitid(libc::P_PID, pid, how, block) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => wait4(pid, how, block),
        other => other,
    }
}

/// How a child has ended, if it has; it stays to be waited for. ECHILD: it is
/// not of that kind, or somebody else has waited for it.
pub(crate) fn peek(
    target: Target,
    kind: Kind,
) -> Result<Option<Ended>, Errno> {
    look(target, kind.flag(), false)
}

/// As `peek`, once it has ended.
pub(crate) fn await_end(
    target: Target,
    kind: Kind,
) -> Result<Option<Ended>, Errno> {
    look(target, kind.flag(), true)
}

fn look(
    target: Target,
    how: i32,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let how = how | libc::WNOWAIT;
    by_descriptor(target, how, block).unwrap_or_else(|| {
        waitid(libc::P_PID, target.pid.get().into(), how, block)
    })
}

/// The kernel's answer to a wait by descriptor. `None` if there is none to
/// be had, and the number is the child's still, as nobody has reaped it: a
/// number that another process has by now is not waited for.
fn by_descriptor(
    target: Target,
    how: i32,
    block: bool,
) -> Option<Result<Option<Ended>, Errno>> {
    let pidfd = target.pidfd?;
    match waitid(libc::P_PIDFD, pidfd.into(), how, block) {
        // EINVAL: before Linux 5.4. The others are a filter's.
        Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM))
            if !waits_by_descriptor() =>
        {
            is_reaped(pidfd).then_some(Err(Errno(libc::ECHILD)))
        }
        other => {
            seen(other, how);
            Some(other)
        }
    }
}

/// Whether the kernel itself answers to a wait by descriptor: EBADF for a
/// number that no descriptor has.
fn waits_by_descriptor() -> bool {
    let none = waitid(libc::P_PIDFD, i32::MAX.into(), libc::__WALL, false);
    none == Err(Errno(libc::EBADF))
}

/// Whether somebody has reaped the process of a pidfd, as signal 0 tells.
/// False if a filter refuses that too.
fn is_reaped(pidfd: i32) -> bool {
    let args = [bits(i64::from(pidfd)), 0, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: numbers, and no siginfo.
    let result = unsafe { syscall(libc::SYS_pidfd_send_signal, args) };
    Errno::of(result) == Some(Errno(libc::ESRCH))
}

/// Whether the number is the child's: nobody has reaped it, so that the
/// kernel cannot have given it to another process. What was asked by number
/// before this is an answer of the child's.
pub(crate) fn keeps_its_number(target: Target) -> bool {
    match peek(target, Kind::Any) {
        Ok(_) => true,
        Err(Errno(libc::ECHILD)) => false,
        // A filter refuses every wait.
        Err(_) => target.pidfd.is_none_or(|pidfd| !is_reaped(pidfd)),
    }
}

/// The signal that a child is stopped by, if it is; that stays to be waited
/// for.
pub(crate) fn stopped(target: Target) -> Option<i32> {
    let how = Kind::Any.flag() | libc::WSTOPPED;
    let seen = look(target, how, false).ok().flatten();
    let seen = seen.filter(|seen| seen.code == libc::CLD_STOPPED);
    seen.map(|seen| seen.status)
}

fn waitid(
    by: libc::idtype_t,
    id: i64,
    how: i32,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let mut info = SigInfo::zeroed();
    let nohang = if block { 0 } else { libc::WNOHANG };
    let how = libc::WEXITED | how | nohang;
    let args = [
        u64::from(by),
        bits(id),
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

fn wait4(pid: i64, how: i32, block: bool) -> Result<Option<Ended>, Errno> {
    let mut status = 0i32;
    let nohang = if block { 0 } else { libc::WNOHANG };
    let how = bits(i64::from(how | nohang));
    let at = (&raw mut status).expose_provenance() as u64;
    loop {
        // SAFETY: clause 1 of `syscall`: the call writes one int, and
        // `status` is one, alive to the end of this body; no usage is asked.
        let result =
            unsafe { syscall(libc::SYS_wait4, [bits(pid), at, how, 0, 0, 0]) };
        match Errno::of(result) {
            Some(Errno(libc::EINTR)) => {}
            Some(errno) => return Err(errno),
            None if result == 0 => return Ok(None),
            None => return Ok(Some(Ended::of(status))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ended;

    #[test]
    fn a_wait_status_survives_being_taken_apart() {
        for status in [0, 0x100, 0xFF00, 9, 11, 11 | 0x80, 64] {
            assert_eq!(Ended::of(status).wait_status(), status, "{status:#x}");
        }
    }
}
