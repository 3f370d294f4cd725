//! Waiting for one process: by its descriptor, else by its number.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

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

/// Waits for the end of a child. `Ok(None)`: it is still there. ECHILD: it
/// is not a child of that kind, or somebody else has waited for it.
///
/// Where the kernel cannot wait by descriptor (before Linux 5.4) or a filter
/// refuses it, the number serves: nobody but us waits for a silent child,
/// so it keeps its number.
pub(crate) fn wait(
    target: Target,
    kind: Kind,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let (how, pid) = (kind.flag(), i64::from(target.pid.get()));
    if let Some(pidfd) = target.pidfd {
        match waitid(libc::P_PIDFD, i64::from(pidfd), how, block) {
            Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM)) => {}
            other => return other,
        }
    }
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
    let how = kind.flag() | libc::WNOWAIT;
    let pid = i64::from(target.pid.get());
    waitid(libc::P_PID, pid, how, false)
}

/// The signal that a child is stopped by, if it is; that stays to be waited
/// for.
pub(crate) fn stopped(target: Target) -> Option<i32> {
    let how = Kind::Any.flag() | libc::WSTOPPED | libc::WNOWAIT;
    let by_number =
        || waitid(libc::P_PID, i64::from(target.pid.get()), how, false);
    let by_pidfd = |fd: i32| waitid(libc::P_PIDFD, i64::from(fd), how, false);
    let seen = match target.pidfd.map(by_pidfd) {
        // As in `wait`.
        None | Some(Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM))) => {
            by_number()
        }
        Some(seen) => seen,
    };
    let seen = seen.ok().flatten();
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
            None => return Ok(Some(ended(status))),
        }
    }
}

/// A classic wait status, taken apart.
fn ended(status: i32) -> Ended {
    if libc::WIFEXITED(status) {
        let status = libc::WEXITSTATUS(status);
        return Ended { code: libc::CLD_EXITED, status };
    }
    let dumped = libc::WCOREDUMP(status);
    let code = if dumped { libc::CLD_DUMPED } else { libc::CLD_KILLED };
    Ended { code, status: libc::WTERMSIG(status) }
}

#[cfg(test)]
mod tests {
    use super::ended;

    #[test]
    fn a_wait_status_survives_being_taken_apart() {
        for status in [0, 0x100, 0xFF00, 9, 11, 11 | 0x80, 64] {
            assert_eq!(ended(status).wait_status(), status, "{status:#x}");
        }
    }
}
