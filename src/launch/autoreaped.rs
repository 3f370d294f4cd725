//! Autoreaped: what became of a child that the kernel reaps
//! (`CLONE_AUTOREAP`).
//!
//! Until its exec only a wait for "clone" children sees it, and from then on
//! only one for the others, as with any child. From its end on no wait does, so
//! ECHILD alone proves nothing. Its pidfd has the status, which a child that
//! exits before exec never has without a failed row.

use super::args::LaunchArgs;
use super::hook_forks::has_reached_exec;
use super::outcome::Outcome;
use super::reap::first_exec_row;
use crate::call::{Block, Table};
use crate::sys::wait::{Kind, Target, is_seen, wait};
use crate::sys::{CloneFlags, Pid};

impl LaunchArgs<'_> {
    pub(super) fn is_autoreaped(self) -> bool {
        self.flags.contains(CloneFlags::AUTOREAP)
    }

    /// The child of this launch.
    pub(super) fn target(self, pid: Pid, pidfd: Option<i32>) -> Target {
        let autoreaped = self.is_autoreaped();
        Target { autoreaped, ..Target::new(pid, pidfd) }
    }
}

/// Returns the outcome of a child that has exec'd or is about to end. One that
/// did not exec has ended.
pub(super) fn outcome(
    table: &Table<'_>,
    block: &Block,
    target: Target,
) -> Outcome {
    let (row, Target { pid, pidfd, .. }) = (block.reached, target);
    let running = |confirmed| Outcome::Running { pid, pidfd, confirmed };
    // In this order: one that is seen as another child after it is no "clone"
    // child has exec'd, and one that has ended is seen by neither.
    let clone = is_seen(target, Kind::Clone);
    let other = is_seen(target, Kind::Any);
    if block.failed == 0 && clone == Ok(false) && other == Ok(true) {
        return running(true);
    }
    if block.failed == 0 && (clone.is_err() || other.is_err()) {
        // A seccomp filter rejects every kind of wait.
        return running(false);
    }
    let ended = wait(target, Kind::Any, true).ok().flatten();
    if block.failed != 0 {
        return Outcome::failed(block, pidfd);
    }
    let began = has_reached_exec(block, first_exec_row(table));
    match ended.map(|ended| ended.signal()) {
        _ if clone == Ok(true) || !began => {
            Outcome::Died { row, ended, pidfd }
        }
        // A child that exits reports a failed row: this was the program.
        Some(None) => running(true),
        // It was killed, right before its exec or as the program.
        _ => running(false),
    }
}
