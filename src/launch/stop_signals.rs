//! Stop signals: SIGTSTP, SIGTTIN and SIGTTOU that reach a child before its
//! exec, as when a terminal stops the caller's process group.
//!
//! They are blocked until a row sets the program's mask, right before exec. In
//! the suspended engine, whose caller cannot run, the child takes a pending
//! one from its queue before that; in the other engines the caller continues
//! a stopped child.

use crate::call::{Block, slot};
use crate::sys::abi::STOP_SIGNALS;
use crate::sys::call::{getpgid, pending_signals, send_signal};
use crate::sys::wait::{Target, stop_signal};

/// Continues a child that one of these signals has stopped before its exec.
/// The caller could wait for ever otherwise: a shell that continues the group
/// does not reach a child that has left it. A child stopped by SIGSTOP stays
/// stopped: another process, a debugger for example, has asked for that.
pub(super) fn resume(target: Target) {
    if stop_signal(target).is_some_and(is_stop_signal) {
        let _ = send_signal(target, libc::SIGCONT);
    }
}

/// Sends the stop signal that the child took from its queue to the program
/// that has replaced it, if the same signal is about to stop the caller, once
/// its mask is restored, and both are in one group: then SIGCONT continues
/// both. A program in another group would stay stopped.
pub(super) fn pass_on(target: Target, block: &Block) {
    let Ok(signal) = i32::try_from(block.slot(slot::STOP_SIGNAL)) else {
        return;
    };
    let stops_caller = || {
        let same_group = getpgid(target.pid.get()) == getpgid(0);
        pending_signals() & STOP_SIGNALS != 0 && same_group
    };
    if block.failed == 0 && is_stop_signal(signal) && stops_caller() {
        let _ = send_signal(target, signal);
    }
}

fn is_stop_signal(signal: i32) -> bool {
    (1..=64).contains(&signal) && STOP_SIGNALS & 1 << (signal - 1) != 0
}
