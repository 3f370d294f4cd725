//! Stop signals: SIGTSTP, SIGTTIN and SIGTTOU that reach a child before its
//! exec, as when a terminal stops the caller's process group.
//!
//! They are blocked until a row sets the program's mask, right before exec. In
//! the suspended engine, whose caller cannot run, the child takes a pending
//! one from its queue before that; in the other engines the caller continues
//! a stopped child.

use rustix::event::{Timespec, poll};

use crate::call::{Block, slot};
use crate::sys::abi::STOP_SIGNALS;
use crate::sys::call::{getpgid, pending_signals, ptrace_continue};
use crate::sys::kill::send_signal;
use crate::sys::wait::{Target, stop_signal, traced_stop};

/// Continues a child that one of these signals has stopped before its exec.
/// The caller could wait for ever otherwise: a shell that continues the group
/// does not reach a child that has left it. A child stopped by SIGSTOP stays
/// stopped: another process, a debugger for example, has asked for that.
pub(super) fn resume(target: Target) {
    resume_if(target, || stop_signal(target));
}

/// As `resume`, where something else tells which signal has stopped it.
pub(super) fn resume_if(
    target: Target,
    stop_signal: impl FnOnce() -> Option<i32>,
) {
    if stop_signal().is_some_and(is_stop_signal) {
        let _ = send_signal(target, libc::SIGCONT);
    }
}

/// How often a child is continued in one turn.
const MOST_STOPS: u32 = 64;

/// As `resume`, for a child that asks to be traced by this thread: a signal
/// stops it before it is delivered. The signal is delivered, except one that
/// stops: the tracer continues nobody before exec. `has_execd` must be true
/// of a child that has exec'd: its first stop belongs to the caller.
pub(super) fn resume_traced(target: Target, has_execd: impl Fn() -> bool) {
    // The same signal may be pending again, and stops the child at once.
    for _ in 0..MOST_STOPS {
        let Some(signal) = traced_stop(target) else { return };
        // In this order: a child that stopped after exec has exec'd by now.
        if has_execd() {
            return;
        }
        let stops = is_stop_signal(signal) || signal == libc::SIGSTOP;
        ptrace_continue(target.pid, if stops { 0 } else { signal });
        let pause = Timespec { tv_sec: 0, tv_nsec: 20_000 };
        let _ = poll(&mut [], Some(&pause));
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
