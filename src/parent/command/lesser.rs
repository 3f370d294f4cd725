//! Lesser: the shape that may serve where a step of this one was refused.

use super::changes::Change;
use super::lowered::Lowered;
use crate::call::number;
use crate::op::Op;
use crate::parent::plan::Plan;
use crate::parent::plan::shape::Shape;

/// A shape, and what it has instead of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lesser {
    pub(super) shape: Shape,
    pub(super) change: Change,
    pub(super) feature: &'static str,
    pub(super) instead: &'static str,
}

/// What is missing or refused by a filter answers so.
const MISSING: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// What may serve after `row` gave `errno`, if anything does. See the table
/// of errnos in docs/kernels.md.
pub(super) fn lesser(
    plan: &Plan,
    lowered: &Lowered,
    row: u32,
    errno: i32,
) -> Option<Lesser> {
    let shape = lowered.shape;
    let missing = MISSING.contains(&errno);
    match lowered.op(plan, row)? {
        // EINVAL: its flags came later than the call.
        Op::CloseRange | Op::MarkRange
            if !shape.listed
                && is_call(lowered, row, libc::SYS_close_range)
                && (missing || errno == libc::EINVAL) =>
        {
            Some(listed(shape))
        }
        Op::ExecFd(_) if missing && !shape.by_path => Some(by_path(shape)),
        Op::Exec(_)
            if errno == libc::ENOEXEC
                && plan.shell_fallback
                && shape.shell.is_none() =>
        {
            let step = lowered.row(row)?.step;
            Some(Lesser {
                shape: Shape { shell: Some(step), ..shape },
                change: Change::Shell,
                feature: "execve",
                instead: "/bin/sh",
            })
        }
        Op::SignalMask if !shape.keeps_stops => {
            // An error of these goes on; only SIGSYS comes here.
            let calls = [
                (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
                (libc::SYS_faccessat, "faccessat"),
            ];
            let call = |(nr, _): &&_| is_call(lowered, row, *nr);
            let (_, feature) = *calls.iter().find(call)?;
            Some(Lesser {
                shape: Shape { keeps_stops: true, ..shape },
                change: Change::KeepStops,
                feature,
                instead: "stops that stay pending",
            })
        }
        _ => None,
    }
}

/// Without `close_range`.
pub(super) fn listed(shape: Shape) -> Lesser {
    Lesser {
        shape: Shape { listed: true, ..shape },
        change: Change::Listed,
        feature: "close_range",
        instead: "a list of descriptors",
    }
}

/// Without `execveat`.
pub(super) fn by_path(shape: Shape) -> Lesser {
    Lesser {
        shape: Shape { by_path: true, ..shape },
        change: Change::ByPath,
        feature: "execveat",
        instead: "its path in /proc/self/fd",
    }
}

/// Whether a row makes this system call.
fn is_call(lowered: &Lowered, row: u32, nr: libc::c_long) -> bool {
    lowered.row(row).is_some_and(|row| row.nr == number(nr))
}
