//! Reason: what an error number means at its step, and which option it was
//! made for.

use super::prepared::Prepared;
use crate::parent::command::hook::PANICKED;
use crate::parent::error::Cause;
use crate::parent::plan::op::Op;
use crate::parent::plan::step::{Effect, StepRecord};
use crate::parent::std::ffi::OsStr;
use crate::sys::Errno;
use crate::sys::abi::Limit;
use crate::sys::call::limit;

const FULL: &str = "that user has as many processes as RLIMIT_NPROC allows";

/// Why a step failed, where more is known than the name of the errno.
pub(super) fn reason(step: &StepRecord, errno: i32) -> Cause {
    let why = match (step.op(), errno) {
        (Some(Op::Dup { to, .. }), libc::EBADF) => too_high(to),
        _ => {
            let own = step.reasons.iter().find(|(of, _)| *of == errno);
            own.map(|(_, why)| *why)
        }
    };
    why.map_or(Cause::Os(errno), |why| Cause::Explained(errno, why))
}

/// What the result of a failed row means.
pub(super) fn cause(result: i64) -> Cause {
    match Errno::of(result) {
        Some(errno) => Cause::Os(errno.0),
        None if result == PANICKED => Cause::Panicked,
        None => Cause::Untrue(result),
    }
}

/// Why a descriptor that is open was not brought to its number: the limit
/// was looked at when the plan was prepared.
fn too_high(to: u32) -> Option<&'static str> {
    let limit = limit(Limit::Descriptors).ok()?;
    let why = "that number is not below RLIMIT_NOFILE any more";
    (u64::from(to) >= limit).then_some(why)
}

/// Why exec failed, where no file is the reason.
pub(super) fn exec_reason(errno: i32, no_execveat: bool) -> Cause {
    let why = match errno {
        libc::ENOEXEC if no_execveat => {
            "the kernel knows no such format; shell_fallback has /bin/sh run \
             it"
        }
        libc::ENOEXEC => "the kernel knows no such format",
        libc::EAGAIN => FULL,
        _ => return Cause::Os(errno),
    };
    Cause::Explained(errno, why)
}

impl Prepared {
    /// The root that the child has at a step, if that is not ours.
    pub(super) fn root_at(&self, step: u16) -> Option<&OsStr> {
        let before = self.plan.effects().take(usize::from(step));
        let roots = before.filter_map(|effect| match effect {
            Effect::Root(dir) => Some(dir),
            _ => None,
        });
        roots.last().map(|dir| self.plan.strings.get(dir))
    }
}
