//! Sibling: what became of a child whose parent is this process's parent.
//!
//! `CLONE_PARENT` makes one. No wait of this process sees it, before exec or
//! after, so a wait tells neither exec from death nor when it has ended; and
//! its exit signal is that of this process, whatever the clone asks for. What
//! tells is the block, its pidfd, which is readable from its end on, whether
//! the kernel takes it for the owner of a PI futex (not from its exit on), and
//! `/proc`, which has it until the parent reaps it.
//!
//! If it fails, the zombie is the parent's to reap.

use super::args::LaunchArgs;
use super::hook_forks::has_reached_exec;
use super::outcome::Outcome;
use super::reap::{self, first_exec_row};
use super::robust_futex::sleep_briefly;
use super::stop_signals::{resume, resume_if};
use super::{autoreaped, proc_files};
use crate::call::{Block, Table};
use crate::sys::call::is_running;
use crate::sys::kill::send_signal;
use crate::sys::pidfd::{is_readable, reaped_status, wait_until_readable};
use crate::sys::wait::{Ended, Target};
use crate::sys::{CloneFlags, Errno, Pid};

impl LaunchArgs<'_> {
    pub(super) fn is_sibling(self) -> bool {
        self.flags.contains(CloneFlags::PARENT)
    }

    /// Continues a child that a stop signal has stopped. Which one has stopped
    /// a sibling, no wait tells: `/proc` does.
    pub(super) fn resume(self, target: Target) {
        if !self.is_sibling() {
            return resume(target);
        }
        resume_if(target, || {
            let signal = proc_files::stop_signal(target.pid);
            signal.filter(|_| !is_reaped(target))
        });
    }

    /// Whether the child has ended, by `otherwise` if it is no sibling. One
    /// that is to end is killed.
    pub(super) fn has_ended(
        self,
        target: Target,
        otherwise: impl Fn(Target) -> bool,
    ) -> bool {
        self.kill_if_cancelled(target);
        match self.is_sibling() {
            true => has_ended(target),
            false => otherwise(target),
        }
    }

    /// Returns the outcome of a child that has exec'd or is about to end. If
    /// it did not exec, it is reaped, or has ended if another reaps it.
    pub(super) fn outcome_of(
        self,
        table: &Table<'_>,
        block: &Block,
        pid: Pid,
        pidfd: Option<i32>,
    ) -> Outcome {
        if self.is_autoreaped() {
            let target = self.target(pid, pidfd);
            return autoreaped::outcome(table, block, target);
        }
        if !self.is_sibling() {
            return reap::outcome_of(table, block, pid, pidfd);
        }
        let began = has_reached_exec(block, first_exec_row(table));
        let has_execd = || proc_files::has_execd(pid);
        let target = Target::new(pid, pidfd);
        outcome(target, block, block.reached, began, has_execd)
    }
}

/// Returns the outcome of a sibling that has left the memory that it was made
/// with. `row` is the last that it has begun. `has_execd` reads `/proc`, and is
/// `None` if it cannot.
pub(super) fn outcome(
    target: Target,
    block: &Block,
    row: u32,
    began_exec: bool,
    has_execd: impl Fn() -> Option<bool>,
) -> Outcome {
    let Target { pid, pidfd, .. } = target;
    let running = |confirmed| Outcome::Running { pid, pidfd, confirmed };
    if block.failed != 0 {
        wait_for_end(target);
        return Outcome::failed(block, pidfd);
    }
    let execd = has_become_program(target, began_exec, has_execd);
    if execd == Some(true) {
        return running(true);
    }
    let ended = ended(target);
    match execd {
        None if began_exec => {
            // A child that exits has a failed row: this is the program.
            let exited = ended.is_some_and(|ended| ended.signal().is_none());
            running(exited)
        }
        _ => Outcome::Died { row, ended, pidfd },
    }
}

/// Whether a sibling has exec'd, which has left the memory that it was made
/// with, by exec or at its end; `None` if that cannot be found out, as the
/// parent has reaped it, or there is neither that call nor `/proc`. A sibling
/// that has not exec'd has ended after this, unless nothing tells and it has
/// begun to exec.
fn has_become_program(
    target: Target,
    began_exec: bool,
    has_execd: impl Fn() -> Option<bool>,
) -> Option<bool> {
    loop {
        // The kernel marks a process that ends before it releases its memory.
        // It may reject one in exec for a moment.
        let running = is_running(target.pid);
        if running == Some(true) && !is_reaped(target) {
            return Some(true);
        }
        // In this order: one that has ended changes no more. Exec releases the
        // memory a moment before it changes the flag in /proc.
        let ended = has_ended(target);
        let execd = has_execd().filter(|_| !is_reaped(target));
        if ended || execd == Some(true) {
            return execd;
        }
        // Its end would be that of the program.
        if execd.is_none() && running.is_none() && began_exec {
            return None;
        }
        sleep_briefly();
    }
}

/// Whether a sibling has ended.
fn has_ended(target: Target) -> bool {
    match target.pidfd {
        Some(pidfd) => is_readable(pidfd),
        None => {
            proc_files::is_zombie(target.pid).unwrap_or_default()
                || is_reaped(target)
        }
    }
}

fn wait_for_end(target: Target) {
    if let Some(pidfd) = target.pidfd {
        wait_until_readable(pidfd);
    }
    while !has_ended(target) {
        sleep_briefly();
    }
}

/// Whether the parent has reaped it. What was read by process id before this
/// call was otherwise about the sibling.
fn is_reaped(target: Target) -> bool {
    send_signal(target, 0) == Err(Errno(libc::ESRCH))
}

/// How a sibling that has ended did so, where that can be found out.
fn ended(target: Target) -> Option<Ended> {
    let status = proc_files::exit_status(target.pid);
    let status = status.filter(|_| !is_reaped(target));
    let status = status.or_else(|| target.pidfd.and_then(reaped_status));
    status.map(Ended::from_wait_status)
}
