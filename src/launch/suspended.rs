//! Engine suspended: memory shared, the caller asleep until exec or death.
#![allow(unsafe_code, reason = "the door of this engine")]

use super::stops::pass_on;
use super::{
    LaunchArgs, Outcome, address, descriptor, make, pidfd_slot, seat, verdict,
};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::wait::Target;
use crate::sys::{CloneCall, CloneFlags, Errno, Pid};

/// Makes a child that walks `table` and returns when it runs the program or
/// is gone. The caller's slots stand in `block` already.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: LaunchArgs<'_>,
) -> Outcome {
    let ask = ask.with(CloneFlags::SUSPENDED);
    let at: *mut Block = block;
    seat(block, at, ask);
    let mut args = CloneArgs::default();
    let pidfd = pidfd_slot(ask);
    let (nr, arguments) = make(ask, &mut args, address(at, pidfd), 0);
    let mask = block_signals(ask.clone_call == CloneCall::Clone);
    block.set(slot::MASK, mask);
    let at: *mut Block = block;
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack, what it
    // reads and the pidfd's slot alive in this frame. Clause 2: clauses 2 and
    // 3 of this folder, as SUSPENDED holds VM and VFORK. Clause 3: `seat` has
    // set the address slots. Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    let pid = Pid::new(made);
    let pidfd = descriptor(block.slot(pidfd));
    if let Some(pid) = pid {
        // While it is pending here as well.
        pass_on(Target { pid, pidfd }, block);
    }
    set_signal_mask(mask);
    match pid {
        Some(pid) => verdict(table, block, pid, pidfd),
        None => {
            Outcome::Refused(Errno::of(made).unwrap_or(Errno(libc::EINVAL)))
        }
    }
}
