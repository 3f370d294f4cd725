//! Pipe engine: a plain clone and a close-on-exec pipe, whose end of file
//! means that the child has exec'd or ended. For emulators and kernels that do
//! not support what the other engines need.
//!
//! Its limits: a failed child raises SIGCHLD, and another thread can reap it;
//! a child killed inside execve cannot be told from its program
//! (`Launch::confirmed` is false). Where a fork in another thread keeps the
//! pipe open, or a hook has closed it early, /proc tells whether the child has
//! exec'd, some milliseconds late.
#![allow(unsafe_code, reason = "clones a copy of this process")]

use core::mem;
use core::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::args::LaunchArgs;
use super::outcome::Outcome;
use super::proc_files::has_execd;
use super::reap::{first_exec_row, has_ended};
use super::shared_block::SharedBlock;
use super::stop_signals::{resume, resume_traced};
use super::watch::{Watched, Words};
use super::{gate, hook_forks};
use crate::call::{Block, Table, local, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::pidfd;
use crate::sys::wait::{Kind, Target, is_unreaped, peek, wait};
use crate::sys::{CloneCall, CloneFlags, Pid, bits};

/// The first timeout in nanoseconds. Each wait that times out doubles it, up
/// to the last.
const FIRST_TIMEOUT: i64 = 1_000_000;
const LAST_TIMEOUT: i64 = 16_000_000;

/// Makes a child by a plain clone that runs `table`. Returns when the pipe's
/// write end is closed in the child, by exec or at its end.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
    pipe: (OwnedFd, OwnedFd),
) -> Outcome {
    let (read_end, write_end) = pipe;
    // What a plain clone has too.
    let flags = args.flags.intersection(CloneFlags::NAMESPACES);
    let args = LaunchArgs { clone_call: CloneCall::Clone, flags, ..args };
    let mut shared = match SharedBlock::new(block) {
        Ok(shared) => shared,
        Err(errno) => return Outcome::Rejected(errno),
    };
    let at = shared.at();
    args.fill_slots(shared.block(), at);
    let signal = bits(i64::from(libc::SIGCHLD));
    let mut clone_args = CloneArgs::default();
    let (nr, arguments) = args.system_call(&mut clone_args, 0, signal);
    let mask = block_signals(true);
    let program_mask = args.mask.unwrap_or(mask);
    shared.block().set(slot::SIGMASK, program_mask);
    shared.block().set(slot::PIDFD, bits(-1));
    let words = Words::new(at, at, slot::PIDFD);
    let _watched = Watched::new(args.watch, words);
    // SAFETY: clause 1 of `enter`: clone without a stack and without
    // addresses. Clause 2: no VM, so the child has copies of the table; the
    // mapping outlives this call. Clause 3: `fill_slots` has set the address
    // slots. Clause 4: clause 6 of this directory.
    let result = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    mem::drop(write_end);
    let Some(pid) = Pid::new(result) else {
        return Outcome::rejected(result);
    };
    let pidfd = pidfd::open(pid).ok();
    if let Some(pidfd) = pidfd {
        let slot = shared.atomic(slot::PIDFD);
        slot.store(pidfd.unsigned_abs(), Ordering::Release);
    }
    let target = Target::new(pid, pidfd);
    let has_ended = || {
        args.kill_if_cancelled(target);
        has_ended(target)
    };
    if !gate::open(&shared, args.gate, args.last_timeout(), target, has_ended)
    {
        *block = shared.read();
        return Outcome::Stopped { pidfd };
    }
    let execd = wait_for_exec(&shared, table, target, &read_end, args);
    *block = shared.read();
    if execd || !hook_forks::claimed_by_fork(block) {
        return outcome_of(block, target, execd);
    }
    let outcome = hook_forks::outcome_of_fork(&shared, target);
    *block = shared.read();
    outcome
}

/// Waits until the child has exec'd, has failed a row or has ended, and
/// returns whether it has exec'd the program. Before that only a hook can
/// close the pipe.
fn wait_for_exec(
    shared: &SharedBlock,
    table: &Table<'_>,
    target: Target,
    pipe: &OwnedFd,
    args: LaunchArgs<'_>,
) -> bool {
    let exec = first_exec_row(table);
    let has_hooks = table.rows().iter().any(|row| row.nr == local::CALLBACK);
    let (mut open, mut ended) = (true, false);
    let mut timeout = FIRST_TIMEOUT;
    let mut grace_period = hook_forks::GracePeriod::new();
    loop {
        let pidfd = target.pidfd.filter(|_| !ended);
        let timed_out = !poll_child(pipe, &mut open, pidfd, timeout);
        if timed_out {
            args.kill_if_cancelled(target);
            resume(target);
            if args.traced {
                let execd = || has_execd(target.pid) != Some(false);
                resume_traced(target, execd);
            }
            timeout = (timeout * 2).min(LAST_TIMEOUT);
        }
        // In this order: a child that has ended writes no more.
        let status = peek(target, Kind::Any);
        let block = shared.read();
        let reached = hook_forks::has_reached_exec(&block, exec);
        let forked = hook_forks::claimed_by_fork(&block);
        if block.failed != 0 || forked && !hook_forks::fork_continues(&block) {
            return false;
        }
        let execd = || match forked {
            true => hook_forks::claimant_has_execd(&block, target),
            false => has_execd(target.pid).filter(|_| is_unreaped(target)),
        };
        ended = status != Ok(None);
        let runs = match open {
            false if forked => execd().unwrap_or(timed_out),
            false if has_hooks => execd().unwrap_or(reached && timed_out),
            false => reached,
            // A fork made by a hook may keep the pipe open for long.
            true => timed_out && execd() == Some(true),
        };
        // The child may have failed since the block was read.
        if runs && shared.read().failed == 0 {
            return true;
        }
        if forked {
            if !open && grace_period.is_over() {
                return true;
            }
        } else if ended && hook_forks::is_in_hooks(&block) {
            hook_forks::close_claim(shared, status.ok().flatten());
        } else if ended {
            return execd().unwrap_or(reached) && reached;
        }
    }
}

/// Waits for the pipe's end of file, after which `open` is false, or for the
/// end of the child; returns false if the wait timed out.
fn poll_child(
    pipe: &OwnedFd,
    open: &mut bool,
    pidfd: Option<i32>,
    timeout: i64,
) -> bool {
    // SAFETY: clause 2 of this directory: the kernel created it for this
    // launch, and no code has taken or closes it meanwhile.
    let pidfd = pidfd.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
    let other = pidfd.unwrap_or_else(|| pipe.as_fd());
    let exit = PollFd::from_borrowed_fd(other, PollFlags::IN);
    let mut both = [exit, PollFd::new(pipe, PollFlags::empty())];
    let from = usize::from(pidfd.is_none());
    let to = if *open { 2 } else { 1 };
    let timeout = Timespec { tv_sec: 0, tv_nsec: timeout };
    let polled = both.get_mut(from..to).unwrap_or_default();
    let timed_out = poll(polled, Some(&timeout)) == Ok(0);
    *open = *open && both[1].revents().is_empty();
    !timed_out
}

fn outcome_of(block: &Block, target: Target, execd: bool) -> Outcome {
    let Target { pid, pidfd, .. } = target;
    if execd {
        return Outcome::Running { pid, pidfd, confirmed: false };
    }
    // Another thread may have reaped it.
    let ended = wait(target, Kind::Any, true).ok().flatten();
    match block.failed {
        0 => Outcome::Died { row: block.reached, ended, pidfd },
        _ => Outcome::failed(block, pidfd),
    }
}
