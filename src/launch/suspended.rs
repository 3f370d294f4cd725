//! Engine suspended: memory shared, the caller asleep until exec or death.
#![allow(unsafe_code, reason = "the door of this engine")]

use super::{
    Ask, Made, address, clone_args, clone3, descriptor, pidfd_slot, seat,
    verdict,
};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::call::set_signal_mask;
use crate::sys::{CloneFlags, Errno, Pid};

/// Makes a child that walks `table` and returns when it runs the program or
/// is gone. The caller's slots stand in `block` already.
pub(crate) fn launch(table: &Table<'_>, block: &mut Block, ask: Ask) -> Made {
    let ask = Ask { flags: ask.flags.union(CloneFlags::SUSPENDED), ..ask };
    seat(block, ask);
    let at: *mut Block = block;
    let args = clone_args(ask, address(at, pidfd_slot(ask)));
    let (nr, arguments) = clone3(&args);
    let mask = set_signal_mask(u64::MAX);
    block.set(slot::MASK, mask);
    block.set(slot::MASK_AT, address(at, slot::MASK));
    let at: *mut Block = block;
    // SAFETY: clause 1 of `enter`: clone3 without a stack, its arguments and
    // the pidfd's slot alive in this frame. Clause 2: clauses 2 and 3 of
    // this folder, as SUSPENDED holds VM and VFORK. Clause 3: MASK_AT is set
    // above; HEAD_AT stays 0, which the kernel answers with EFAULT.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    match Pid::new(made) {
        Some(pid) => verdict(block, pid, descriptor(block, pidfd_slot(ask))),
        None => Made::Refused(Errno::of(made).unwrap_or(Errno(libc::EINVAL))),
    }
}
