//! Reaping: what became of a child, and a wait for one that did not exec.

use super::hook_forks;
use super::outcome::Outcome;
use super::proc_files::has_execd;
use super::robust_futex::sleep_briefly;
use crate::call::{Block, Table, number};
use crate::sys::pidfd;
use crate::sys::wait::{Kind, Target, is_unreaped, peek, wait};
use crate::sys::{Errno, Pid};

/// Returns the number of a table's first row that execs.
pub(super) fn first_exec_row(table: &Table<'_>) -> u32 {
    let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
    let exec = table.rows().iter().find(|row| execs.contains(&row.nr));
    exec.map_or(u32::MAX, |row| row.row.into())
}

/// Returns the outcome of a child that has exec'd or is about to end, and
/// reaps it if it did not exec.
///
/// Before exec only a wait with `__WCLONE` or `__WALL` sees the child, so
/// ECHILD means that it has exec'd, or that another thread has reaped a child
/// that never reached its exec row with such a wait. A child that a hook has
/// exec'd is an ordinary child from then on.
pub(super) fn outcome_of(
    table: &Table<'_>,
    block: &Block,
    pid: Pid,
    pidfd: Option<i32>,
) -> Outcome {
    let row = block.reached;
    let pidfd = pidfd.or_else(|| pidfd::open(pid).ok());
    let target = Target::new(pid, pidfd);
    if block.failed != 0 {
        let _ = wait(target, Kind::Clone, true);
        return Outcome::failed(block, pidfd);
    }
    let ended = match wait(target, Kind::Clone, false) {
        Ok(None) => wait(target, Kind::Clone, true),
        other => other,
    };
    let reaped_elsewhere = || {
        !hook_forks::has_reached_exec(block, first_exec_row(table))
            && matches!(peek(target, Kind::Any), Err(Errno(libc::ECHILD)))
    };
    match ended {
        Ok(Some(ended)) => Outcome::Died { row, ended: Some(ended), pidfd },
        Err(Errno(libc::ECHILD)) if reaped_elsewhere() => {
            Outcome::Died { row, ended: None, pidfd }
        }
        Err(Errno(libc::ECHILD)) => {
            Outcome::Running { pid, pidfd, confirmed: true }
        }
        // A seccomp filter rejects every kind of wait.
        Ok(None) | Err(_) => Outcome::Running { pid, pidfd, confirmed: false },
    }
}

/// As `outcome_of`, for a child that this thread traces. Every wait sees such
/// a child, before exec and after: /proc tells whether it has exec'd.
pub(super) fn outcome_of_traced(
    table: &Table<'_>,
    block: &Block,
    target: Target,
) -> Outcome {
    let (row, Target { pid, pidfd, .. }) = (block.reached, target);
    let running = |confirmed| Outcome::Running { pid, pidfd, confirmed };
    // Exec releases the futex a moment before it changes the flag in /proc.
    let execd = || {
        loop {
            let ended = has_ended(target);
            let execd = has_execd(pid).filter(|_| is_unreaped(target));
            if ended || execd != Some(false) {
                return execd;
            }
            sleep_briefly();
        }
    };
    let execd = match row >= first_exec_row(table) {
        true => execd(),
        false => Some(false),
    };
    match execd {
        _ if block.failed != 0 => {
            let _ = wait(target, Kind::Any, true);
            Outcome::failed(block, pidfd)
        }
        Some(true) => running(true),
        None => running(false),
        Some(false) => {
            let ended = wait(target, Kind::Any, true).ok().flatten();
            Outcome::Died { row, ended, pidfd }
        }
    }
}

/// Whether a child has ended; it is not reaped.
pub(super) fn has_ended(target: Target) -> bool {
    matches!(peek(target, Kind::Any), Ok(Some(_)) | Err(Errno(libc::ECHILD)))
}
