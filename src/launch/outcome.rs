//! `Outcome`: how a launch ended, as the parent sees it.

use crate::call::Block;
use crate::sys::wait::Ended;
use crate::sys::{Errno, Pid};

/// How a launch ended. `pidfd` is a descriptor without an owner: the function
/// that receives an `Outcome` closes it or keeps it. Rows are counted from 1;
/// 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The program runs; `confirmed` if the kernel has reported the exec.
    Running { pid: Pid, pidfd: Option<i32>, confirmed: bool },
    /// The kernel made no child.
    Rejected(Errno),
    /// A row failed; the child has exited and is reaped.
    Failed { row: u32, result: i64, denied: u32, pidfd: Option<i32> },
    /// The child died before exec without a failed row; it is reaped.
    Died { row: u32, ended: Option<Ended>, pidfd: Option<i32> },
    /// The parent's function at the gate failed; the child was killed and is
    /// reaped.
    Stopped { pidfd: Option<i32> },
}

impl Outcome {
    /// A clone that returned `result`, which is no process id.
    pub(super) fn rejected(result: i64) -> Outcome {
        Outcome::Rejected(Errno::of(result).unwrap_or(Errno(libc::EINVAL)))
    }

    /// The failed row that a block names.
    pub(super) fn failed(block: &Block, pidfd: Option<i32>) -> Outcome {
        let Block { failed: row, result, denied, .. } = *block;
        Outcome::Failed { row, result, denied, pidfd }
    }

    /// Returns the child's descriptor, if the kernel made one.
    pub(crate) fn pidfd(self) -> Option<i32> {
        match self {
            Outcome::Rejected(_) => None,
            Outcome::Running { pidfd, .. }
            | Outcome::Failed { pidfd, .. }
            | Outcome::Died { pidfd, .. }
            | Outcome::Stopped { pidfd } => pidfd,
        }
    }
}
