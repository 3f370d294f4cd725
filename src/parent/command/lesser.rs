//! Lesser: the shape that may serve where a step of this one was refused.

use super::lowered::Lowered;
use crate::call::Check;
use crate::op::Op;
use crate::parent::plan::Plan;
use crate::parent::plan::shape::Shape;

/// A shape, and what it has instead of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lesser {
    pub(super) shape: Shape,
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
                && !is_proof(lowered, row)
                && (missing || errno == libc::EINVAL) =>
        {
            Some(listed(shape))
        }
        Op::ExecFd(_) if missing && !shape.by_path => Some(Lesser {
            shape: Shape { by_path: true, ..shape },
            feature: "execveat",
            instead: "its path in /proc/self/fd",
        }),
        Op::Exec(_)
            if errno == libc::ENOEXEC
                && plan.shell_fallback
                && shape.shell.is_none() =>
        {
            let step = lowered.row(row)?.step;
            Some(Lesser {
                shape: Shape { shell: Some(step), ..shape },
                feature: "execve",
                instead: "/bin/sh",
            })
        }
        _ => None,
    }
}

/// Without `close_range`.
pub(super) fn listed(shape: Shape) -> Lesser {
    Lesser {
        shape: Shape { listed: true, ..shape },
        feature: "close_range",
        instead: "a list of descriptors",
    }
}

/// Whether a row is the one that proves the row before.
pub(super) fn is_proof(lowered: &Lowered, row: u32) -> bool {
    lowered.row(row).is_some_and(|row| row.check == Check::Equal)
}
