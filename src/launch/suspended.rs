//! Suspended engine: memory is shared, and the kernel suspends the caller
//! until exec or death, as after vfork.
#![allow(unsafe_code, reason = "clones into shared memory")]

use super::args::{LaunchArgs, fd_in};
use super::outcome::Outcome;
use super::stop_signals::pass_on;
use super::watch::{Watched, Words};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::wait::Target;
use crate::sys::{CloneCall, CloneFlags, Pid};

/// Makes a child that runs `table`. Returns when the child has exec'd the
/// program or has ended. The caller has filled its slots in `block` before.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
) -> Outcome {
    let args = args.with_engine_flags(CloneFlags::SUSPENDED);
    let at: *mut Block = block;
    args.fill_slots(block, at);
    let mut clone_args = args.clone_args(at);
    let pidfd = args.pidfd_slot();
    let pidfd_at = Block::slot_address(at, pidfd);
    let (nr, arguments) = args.system_call(&mut clone_args, pidfd_at, 0);
    let mask = block_signals(args.clone_call == CloneCall::Clone);
    let program_mask = args.mask.unwrap_or(mask);
    block.set(slot::SIGMASK, program_mask);
    let at: *mut Block = block;
    let _watched = Watched::new(args.watch, Words::new(at, at, pidfd));
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack;
    // `clone_args` and the pidfd's slot live in this frame. Clause 2: clauses
    // 2 and 3 of this directory, as SUSPENDED contains VM and VFORK. Clause 3:
    // `fill_slots` has set the address slots. Clause 4: clause 6 of this
    // directory.
    let result = unsafe { enter(nr, arguments, table, at) };
    let pid = Pid::new(result);
    let pidfd = fd_in(block.slot(pidfd));
    if let Some(pid) = pid {
        // Before the mask is restored: the caller's stop is still pending.
        pass_on(Target::new(pid, pidfd), block);
    }
    set_signal_mask(mask);
    match pid {
        Some(pid) => args.outcome_of(table, block, pid, pidfd),
        None => Outcome::rejected(result),
    }
}
