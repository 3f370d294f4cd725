//! Engine pipe: a plain clone, told apart from its program by the end of a
//! pipe. For emulators and kernels that do not honour what the others need.
//!
//! Its limits: a failed child raises SIGCHLD and can be waited for by others;
//! a child killed inside execve cannot be told from its program (`sure` is
//! false). Where another thread forks without exec and so holds the pipe
//! open, or a hook has closed it early, /proc says whether the child has
//! exec'd, some milliseconds late.
#![allow(unsafe_code, reason = "the door of this engine")]

use core::mem;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::execd::has_execd;
use super::shared::Shared;
use super::stops::resume;
use super::{
    LaunchArgs, Outcome, ended, failed, first_exec, forked, gate, make, seat,
};
use crate::call::{Block, Table, local, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{block_signals, pidfd_open, set_signal_mask};
use crate::sys::wait::{Kind, Target, keeps_its_number, peek, wait};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid, bits};

/// How long the first look waits for news, in nanoseconds; each that has none
/// doubles it, up to the last.
const FIRST_WAIT: i64 = 1_000_000;
const LAST_WAIT: i64 = 16_000_000;

/// Makes a child by a plain clone that walks `table`, and returns when the
/// pipe's writing end, which is close-on-exec, is closed in the child.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: LaunchArgs<'_>,
    pipe: (OwnedFd, OwnedFd),
) -> Outcome {
    let (ours, theirs) = pipe;
    let flags = CloneFlags::empty();
    let ask = LaunchArgs { clone_call: CloneCall::Clone, flags, ..ask };
    let mut shared = match Shared::new(block) {
        Ok(shared) => shared,
        Err(errno) => return Outcome::Refused(errno),
    };
    let at = shared.at();
    seat(shared.block(), at, ask);
    let signal = bits(i64::from(libc::SIGCHLD));
    let (nr, arguments) = make(ask, &mut CloneArgs::default(), 0, signal);
    let mask = block_signals(true);
    shared.block().set(slot::MASK, mask);
    // SAFETY: clause 1 of `enter`: clone without a stack and without
    // addresses. Clause 2: no VM, so the child has copies of the table; the
    // mapping outlives this call. Clause 3: `seat` has set the address
    // slots. Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    mem::drop(theirs);
    let Some(pid) = Pid::new(made) else {
        let errno = Errno::of(made).unwrap_or(Errno(libc::EINVAL));
        return Outcome::Refused(errno);
    };
    let pidfd = pidfd_open(pid);
    let target = Target { pid, pidfd };
    if !gate::pass(&shared, ask.gate, target, || ended(target)) {
        *block = shared.read();
        return Outcome::Stopped { pidfd };
    }
    let runs = await_exec(&shared, table, target, &ours);
    *block = shared.read();
    if runs || !forked::is_another(block) {
        return verdict(block, target, runs);
    }
    let made = forked::verdict(&shared, target);
    *block = shared.read();
    made
}

/// Waits until the child has exec'd, has failed a row or has ended: whether
/// the program runs, or has run. Only a hook can close the pipe before.
fn await_exec(
    shared: &Shared,
    table: &Table<'_>,
    target: Target,
    pipe: &OwnedFd,
) -> bool {
    let exec = first_exec(table);
    let hooked = table.rows().iter().any(|row| row.nr == local::HOOK);
    let (mut open, mut gone, mut limit) = (true, false, FIRST_WAIT);
    let mut patience = forked::Patience::new();
    loop {
        let pidfd = target.pidfd.filter(|_| !gone);
        let late = !news(pipe, &mut open, pidfd, limit);
        if late {
            resume(target);
            limit = (limit * 2).min(LAST_WAIT);
        }
        // First whether it is there, then what it has left.
        let over = peek(target, Kind::Any);
        let block = shared.read();
        let begun = forked::came(&block, exec);
        let other = forked::is_another(&block);
        if block.failed != 0 || other && !forked::goes_on(&block) {
            return false;
        }
        let execd = || match other {
            true => forked::has_execd(&block, target),
            false => {
                has_execd(target.pid).filter(|_| keeps_its_number(target))
            }
        };
        gone = over != Ok(None);
        let runs = match open {
            false if other => execd().unwrap_or(late),
            false if hooked => execd().unwrap_or(begun && late),
            false => begun,
            // The half of a child that has forked may hold it for long.
            true => late && execd() == Some(true),
        };
        // One that has failed meanwhile may have left no trace but this.
        if runs && shared.read().failed == 0 {
            return true;
        }
        if other {
            if !open && patience.ends() {
                return true;
            }
        } else if gone && forked::is_inside(&block) {
            forked::close(shared, over.ok().flatten());
        } else if gone {
            return execd().unwrap_or(begun) && begun;
        }
    }
}

/// Waits for the end of the pipe, which is open no longer then, or of the
/// child; false if neither came in time.
fn news(
    pipe: &OwnedFd,
    open: &mut bool,
    pidfd: Option<i32>,
    limit: i64,
) -> bool {
    // SAFETY: clause 2 of this folder: the kernel has made it for this
    // launch, and nobody has taken it or closes it meanwhile.
    let pidfd = pidfd.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
    let other = pidfd.unwrap_or_else(|| pipe.as_fd());
    let exit = PollFd::from_borrowed_fd(other, PollFlags::IN);
    let mut both = [exit, PollFd::new(pipe, PollFlags::empty())];
    let from = usize::from(pidfd.is_none());
    let to = if *open { 2 } else { 1 };
    let limit = Timespec { tv_sec: 0, tv_nsec: limit };
    let asked = both.get_mut(from..to).unwrap_or_default();
    let late = poll(asked, Some(&limit)) == Ok(0);
    *open = *open && both[1].revents().is_empty();
    !late
}

fn verdict(block: &Block, target: Target, runs: bool) -> Outcome {
    let Target { pid, pidfd } = target;
    if runs {
        return Outcome::Running { pid, pidfd, confirmed: false };
    }
    // Another thread may have waited for it.
    let ended = wait(target, Kind::Any, true).ok().flatten();
    match block.failed {
        0 => Outcome::Died { row: block.reached, ended, pidfd },
        _ => failed(block, pidfd),
    }
}
