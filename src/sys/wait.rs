//! Waiting for one child: by its pidfd, else by its process id.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::abi::Rusage;
use super::arch::syscall;
pub(crate) use super::ended::Ended;
use super::pidfd::{reaped_status, wait_for_hang_up};
use super::waitid::{wait4, waitid, waitid_for};
use super::{Errno, Pid, bits};

/// The process that a wait is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Option<i32>,
    /// The kernel reaps it (`CLONE_AUTOREAP`): it is never a zombie, from its
    /// end on no wait sees it, and its pidfd has the status.
    pub(crate) autoreaped: bool,
}

impl Target {
    /// A process that some process has to reap.
    pub(crate) fn new(pid: Pid, pidfd: Option<i32>) -> Target {
        Target { pid, pidfd, autoreaped: false }
    }
}

/// Which children a wait sees, in the terms of `wait(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// "Clone" children only: created with exit signal 0 and not exec'd since,
    /// so that their end raises no SIGCHLD.
    Clone,
    /// All children, those whose end raises SIGCHLD too.
    Any,
}

impl Kind {
    fn flag(self) -> i32 {
        match self {
            Kind::Clone => libc::__WCLONE,
            Kind::Any => libc::__WALL,
        }
    }
}

/// Whether a child was reaped by other code of this process, or by the kernel
/// as SIGCHLD is ignored. That may happen again.
static REAPED_ELSEWHERE: AtomicBool = AtomicBool::new(false);

pub(crate) fn reaped_elsewhere() -> bool {
    REAPED_ELSEWHERE.load(Ordering::Relaxed)
}

/// Whether this process is known to trace a child, as that has asked for it, or
/// as a wait has seen a stop. A wait sees stops too, which a tracer must find.
static TRACES: AtomicBool = AtomicBool::new(false);

/// Records that this process traces a child, or is about to.
pub(crate) fn note_traced() {
    TRACES.store(true, Ordering::Relaxed);
}

/// Records whether the result of a wait for a child that this crate has not
/// reaped shows that it was reaped elsewhere.
fn note_reaped(result: Result<Option<Ended>, Errno>, how: i32) {
    // Otherwise ECHILD may mean that the child is of the other kind.
    let any = how & libc::__WALL != 0;
    if any && result == Err(Errno(libc::ECHILD)) {
        REAPED_ELSEWHERE.store(true, Ordering::Relaxed);
    }
}

/// Waits for the end of a child and reaps it. Returns `Ok(None)` if it has not
/// ended, ECHILD if it is no child of that kind or was reaped elsewhere.
///
/// The wait is by process id only where there is no pidfd, the kernel has no
/// wait by pidfd (before Linux 5.4), or a seccomp filter rejects it.
pub(crate) fn wait(
    target: Target,
    kind: Kind,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    if target.autoreaped && kind == Kind::Any {
        return end_of_autoreaped(target, block);
    }
    if may_only_have_stopped(target, kind, block) {
        return Ok(None);
    }
    reap(target, kind, block, None)
}

/// As `wait`, for a child that the kernel reaps, as often as it is called.
/// ECHILD: the kernel does not tell how it has ended.
///
/// The kernel stores the status when it reaps, which is a moment after the
/// pidfd becomes readable: the wait is for the hang-up, which comes later.
fn end_of_autoreaped(
    target: Target,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let lost = Errno(libc::ECHILD);
    let pidfd = target.pidfd.ok_or(lost)?;
    if !wait_for_hang_up(pidfd, block)? {
        return Ok(None);
    }
    let status = reaped_status(pidfd).ok_or(lost)?;
    Ok(Some(Ended::from_wait_status(status)))
}

/// As `wait`, and writes what the child has used once it is reaped, unless the
/// kernel does that.
pub(crate) fn wait_usage(
    target: Target,
    block: bool,
    usage: &mut Rusage,
) -> Result<Option<Ended>, Errno> {
    if target.autoreaped {
        return end_of_autoreaped(target, block);
    }
    // A child that this process traces: a wait sees its stops too, which its
    // tracer must find.
    if !block && matches!(peek(target, Kind::Any), Ok(None)) {
        return Ok(None);
    }
    if block && may_only_have_stopped(target, Kind::Any, block) {
        return Ok(None);
    }
    // One call, where the child is not known to be traced: it takes the first
    // stop of one that a thread of this process has attached to.
    match reap(target, Kind::Any, block, Some(&mut *usage))? {
        Some(change) if change.has_ended() => Ok(Some(change)),
        Some(_) if block => {
            note_traced();
            wait_for_end(target, Kind::Any)?;
            reap(target, Kind::Any, false, Some(usage))
        }
        _ => Ok(None),
    }
}

/// Waits for the end of a child that may be traced, without reaping it;
/// returns whether it goes on.
fn may_only_have_stopped(target: Target, kind: Kind, block: bool) -> bool {
    TRACES.load(Ordering::Relaxed)
        && matches!(skip_stops(target, kind, block), Ok(None))
}

fn reap(
    target: Target,
    kind: Kind,
    block: bool,
    mut usage: Option<&mut Rusage>,
) -> Result<Option<Ended>, Errno> {
    let how = kind.flag();
    let used = usage.as_deref_mut();
    if let Some(result) = wait_by_pidfd(target, how, block, used) {
        return result;
    }
    let pid = i64::from(target.pid.get());
    match waitid(libc::P_PID, pid, how, block, usage.as_deref_mut()) {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            wait4(pid, how, block, usage)
        }
        other => other,
    }
}

/// As `wait`, for a child that may be traced: neither reaps the child nor
/// consumes a stop. Its pidfd becomes readable at its end only.
fn skip_stops(
    target: Target,
    kind: Kind,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    loop {
        let ended = peek(target, kind)?;
        if ended.is_some() || !block {
            return Ok(ended);
        }
        let Some(pidfd) = target.pidfd else {
            let limit = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let _ = poll(&mut [], Some(&limit));
            continue;
        };
        // SAFETY: the caller passes the number of a pidfd that it keeps open
        // during this call.
        let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Errno(e.raw_os_error())),
        }
    }
}

/// As `wait` without blocking, but does not reap the child.
pub(crate) fn peek(
    target: Target,
    kind: Kind,
) -> Result<Option<Ended>, Errno> {
    if target.autoreaped && kind == Kind::Any {
        return end_of_autoreaped(target, false);
    }
    let change = wait_unreaped(target, kind.flag(), false)?;
    Ok(change.filter(|change| !change.is_stop()))
}

/// Whether a wait of that kind sees a child, running or ended.
pub(crate) fn is_seen(target: Target, kind: Kind) -> Result<bool, Errno> {
    match wait_unreaped(target, kind.flag(), false) {
        Ok(_) => Ok(true),
        Err(Errno(libc::ECHILD)) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Returns the signal for which a child that this process traces has stopped,
/// if it is stopped. A later wait still sees it.
pub(crate) fn traced_stop(target: Target) -> Option<i32> {
    let change = wait_unreaped(target, Kind::Any.flag(), false).ok()??;
    change.is_stop().then_some(change.status)
}

/// How long a wait that sees a stop pauses, in nanoseconds.
const STOPPED_PAUSE: i64 = 20_000_000;

/// Waits for the end of a child and does not reap it. A wait sees the stops of
/// a child that this process traces too, and returns at once as long as the
/// tracer does not take them. No other thread may reap the child meanwhile: the
/// wait may be by process id.
pub(crate) fn wait_for_end(
    target: Target,
    kind: Kind,
) -> Result<Option<Ended>, Errno> {
    if target.autoreaped && kind == Kind::Any {
        return end_of_autoreaped(target, true);
    }
    loop {
        let change = wait_unreaped(target, kind.flag(), true)?;
        if !change.is_some_and(Ended::is_stop) {
            return Ok(change);
        }
        pause_at_stop();
    }
}

/// As `wait_for_end`, for a child that other threads may reap: by its pidfd
/// only. `None` if that is not available. Returns after a pause at a stop too.
pub(crate) fn wait_for_end_by_pidfd(pidfd: i32) -> Option<Result<(), Errno>> {
    let how = libc::__WALL | libc::WNOWAIT;
    match waitid(libc::P_PIDFD, pidfd.into(), how, true, None) {
        Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM))
            if !has_pidfd_wait() =>
        {
            return None;
        }
        Ok(Some(change)) if change.is_stop() => pause_at_stop(),
        Err(errno) => return Some(Err(errno)),
        Ok(_) => {}
    }
    Some(Ok(()))
}

fn pause_at_stop() {
    let pause = Timespec { tv_sec: 0, tv_nsec: STOPPED_PAUSE };
    let _ = poll(&mut [], Some(&pause));
}

fn wait_unreaped(
    target: Target,
    how: i32,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let how = how | libc::WNOWAIT;
    wait_by_pidfd(target, how, block, None).unwrap_or_else(|| {
        waitid(libc::P_PID, target.pid.get().into(), how, block, None)
    })
}

/// Waits for the end of a child by its pidfd only, and reaps it. Stops that a
/// tracer in this process has to take are as in `wait_for_end`.
pub(crate) fn wait_by_pidfd_only(
    pidfd: i32,
    block: bool,
) -> Result<Option<Ended>, Errno> {
    let waits = |how, block| {
        let how = libc::__WALL | how;
        waitid(libc::P_PIDFD, pidfd.into(), how, block, None)
    };
    loop {
        match waits(libc::WNOWAIT, block)? {
            Some(change) if change.has_ended() => return waits(0, false),
            Some(_) if block => pause_at_stop(),
            _ => return Ok(None),
        }
    }
}

/// Returns the result of a wait by pidfd, or `None` if it is not available
/// and the process id is still the child's: after the child has been reaped
/// elsewhere, another process may have the id.
fn wait_by_pidfd(
    target: Target,
    how: i32,
    block: bool,
    usage: Option<&mut Rusage>,
) -> Option<Result<Option<Ended>, Errno>> {
    let pidfd = target.pidfd?;
    match waitid(libc::P_PIDFD, pidfd.into(), how, block, usage) {
        // EINVAL: before Linux 5.4. The others come from a seccomp filter.
        Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EPERM))
            if !has_pidfd_wait() =>
        {
            is_reaped(pidfd).then_some(Err(Errno(libc::ECHILD)))
        }
        other => {
            if !target.autoreaped {
                note_reaped(other, how);
            }
            Some(other)
        }
    }
}

/// Whether waits by pidfd reach the kernel: EBADF for a closed descriptor.
fn has_pidfd_wait() -> bool {
    let (by, all) = (libc::P_PIDFD, libc::__WALL);
    let result = waitid(by, i32::MAX.into(), all, false, None);
    result == Err(Errno(libc::EBADF))
}

/// Whether the process of a pidfd has been reaped, as sending signal 0 shows.
/// False if a seccomp filter rejects that too.
fn is_reaped(pidfd: i32) -> bool {
    let args = [bits(i64::from(pidfd)), 0, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: numbers, and no siginfo.
    let result = unsafe { syscall(libc::SYS_pidfd_send_signal, args) };
    Errno::of(result) == Some(Errno(libc::ESRCH))
}

/// Whether a child has not been reaped, so that its process id cannot belong
/// to another process. What was read by process id before this call was then
/// about the child.
pub(crate) fn is_unreaped(target: Target) -> bool {
    match peek(target, Kind::Any) {
        Ok(ended) => !target.autoreaped || ended.is_none(),
        Err(Errno(libc::ECHILD)) => false,
        // A seccomp filter rejects every wait.
        Err(_) => target.pidfd.is_none_or(|pidfd| !is_reaped(pidfd)),
    }
}

/// Returns the signal that has stopped a child, if it is stopped. A later wait
/// for stopped children still sees it.
pub(crate) fn stop_signal(target: Target) -> Option<i32> {
    let how = Kind::Any.flag() | libc::WSTOPPED;
    let change = wait_unreaped(target, how, false).ok().flatten();
    let stop = change.filter(|change| change.code == libc::CLD_STOPPED);
    stop.map(|stop| stop.status)
}

/// Waits for a change of a child, its end included, and consumes the others:
/// an end is left to be reaped.
pub(crate) fn wait_for_change(target: Target) -> Result<Ended, Errno> {
    const STOPS: i32 = libc::WSTOPPED | libc::WCONTINUED;
    loop {
        let how = Kind::Any.flag() | STOPS;
        let seen = wait_unreaped(target, how, true)?;
        let Some(seen) = seen else { continue };
        if seen.has_ended() {
            return Ok(seen);
        }
        // Another change may have replaced it meanwhile.
        let (by, id) = match target.pidfd {
            Some(pidfd) if has_pidfd_wait() => (libc::P_PIDFD, pidfd.into()),
            _ => (libc::P_PID, target.pid.get().into()),
        };
        let how = STOPS | libc::__WALL;
        if let Some(change) = waitid_for(by, id, how, false, None)? {
            return Ok(change);
        }
    }
}
