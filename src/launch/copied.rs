//! Copied engine: the child has a copy of the memory, as after fork; a robust
//! futex wakes the caller.
//!
//! The block is in a page that both processes map, and with it the futex word
//! that the kernel releases when the child execs or dies.
#![allow(unsafe_code, reason = "clones a copy of this process")]

use core::sync::atomic::Ordering;

use super::args::{LaunchArgs, fd_in};
use super::outcome::Outcome;
use super::reap::outcome_of_traced;
use super::robust_futex::{is_released, wait_for};
use super::shared_block::SharedBlock;
use super::stop_signals::resume_traced;
use super::watch::{Watched, Words};
use super::{gate, hook_forks, listener};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::pidfd;
use crate::sys::wait::{Kind, Target, peek};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid};

/// Makes a child with a copy of the memory that runs `table`. Returns when
/// the child has exec'd the program or has ended.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
) -> Outcome {
    match SharedBlock::new(block) {
        Ok(mut shared) => launch_in(table, block, args, &mut shared),
        Err(errno) => Outcome::Rejected(errno),
    }
}

/// As `launch`, with a copy of the block in memory that the child shares.
pub(crate) fn launch_in(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
    shared: &mut SharedBlock,
) -> Outcome {
    let args = args.with_engine_flags(CloneFlags::COPIED);
    let at = shared.at();
    args.fill_slots(shared.block(), at);
    let mut clone_args = args.clone_args(at);
    let pidfd = args.pidfd_slot();
    let pidfd_at = Block::slot_address(at, pidfd);
    let (nr, arguments) = args.system_call(&mut clone_args, pidfd_at, 0);
    let mask = block_signals(args.clone_call == CloneCall::Clone);
    let program_mask = args.mask.unwrap_or(mask);
    shared.block().set(slot::SIGMASK, program_mask);
    let _watched = Watched::new(args.watch, Words::new(at, at, pidfd));
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack;
    // `clone_args` lives in this frame, the pidfd's slot in the mapping.
    // Clause 2: COPIED lacks VM, so the child has copies of the table; the
    // mapping outlives this call. Clause 3: `fill_slots` has set the address
    // slots. Clause 4: clause 6 of this directory.
    let result = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(result) else {
        return Outcome::rejected(result);
    };
    let pidfd = shared.atomic(pidfd).load(Ordering::Relaxed);
    let pidfd = fd_in(pidfd.into()).or_else(|| pidfd::open(pid).ok());
    let target = args.target(pid, pidfd);
    let has_ended = || args.has_ended(target, has_ended_or_execd);
    if !gate::open(shared, args.gate, args.last_timeout(), target, has_ended) {
        *block = shared.read();
        return Outcome::Stopped { pidfd };
    }
    let ended = || has_ended() || shared.read().failed != 0;
    if !listener::attend(shared, args.listener, target, ended) {
        *block = shared.read();
        return Outcome::Stopped { pidfd };
    }
    let word = shared.atomic(slot::ROBUST_FUTEX);
    wait_for(word, args.last_timeout(), is_released, || {
        args.resume(target);
        if args.traced {
            let word = || word.load(Ordering::Acquire);
            resume_traced(target, || is_released(word()));
        }
        // A fork made by a hook may have failed while the child lives.
        has_ended() || shared.read().failed != 0
    });
    if hook_forks::continues_in_fork(shared, target) {
        wait_for(word, args.last_timeout(), is_released, || {
            shared.read().failed != 0
        });
    }
    *block = shared.read();
    if args.traced {
        return outcome_of_traced(table, block, target);
    }
    if !hook_forks::claimed_by_fork(block) {
        return args.outcome_of(table, block, pid, pidfd);
    }
    let outcome = hook_forks::outcome_of_fork(shared, target);
    *block = shared.read();
    outcome
}

/// Whether the child has ended or exec'd; it is not reaped.
fn has_ended_or_execd(target: Target) -> bool {
    matches!(peek(target, Kind::Clone), Ok(Some(_)) | Err(Errno(libc::ECHILD)))
}
