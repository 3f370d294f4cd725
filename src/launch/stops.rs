//! Stops: SIGTSTP, SIGTTIN and SIGTTOU that come to a child before its exec,
//! as whoever sits at the terminal stops the group of the caller.
//!
//! They are blocked until the mask is the program's, which comes last. A
//! child that its caller sleeps for, in the kernel, takes what is pending
//! before that; one that its caller looks after is told to go on.

use crate::call::{Block, slot};
use crate::sys::abi::STOPS;
use crate::sys::call::{group, pending_signals, send};
use crate::sys::wait::{Target, stopped};

/// Has a child go on that a stop has hit before its exec: its caller could
/// wait for ever, as whoever continues a group does not know of a child that
/// has left it. SIGSTOP is somebody's who wants to look at it.
pub(super) fn resume(target: Target) {
    if stopped(target).is_some_and(stops) {
        let _ = send(target, libc::SIGCONT);
    }
}

/// Gives the stop that a child took to the program that it is by now, if the
/// caller is about to stop by it too, once its own mask is back: then both go
/// on together. A child that has left the group would never go on.
pub(super) fn pass_on(target: Target, block: &Block) {
    let Ok(stop) = i32::try_from(block.slot(slot::STOP)) else { return };
    let both = || {
        pending_signals() & STOPS != 0 && group(target.pid.get()) == group(0)
    };
    if block.failed == 0 && stops(stop) && both() {
        let _ = send(target, stop);
    }
}

fn stops(signal: i32) -> bool {
    (1..=64).contains(&signal) && STOPS & 1 << (signal - 1) != 0
}
