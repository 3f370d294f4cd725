//! Reason: what an errno means at its step.

use super::prepared::Prepared;
use crate::parent::command::hook::PANICKED;
use crate::parent::error::Cause;
use crate::parent::plan::{Effect, Op, StepRecord};
use crate::parent::std::ffi::OsStr;
use crate::sys::Errno;
use crate::sys::abi::Limit;
use crate::sys::call::limit;

/// Why a step failed, where more is known than the name of the errno.
pub(super) fn reason(step: &StepRecord, result: i64) -> Cause {
    let Some(Errno(errno)) = Errno::of(result) else {
        let own = step.reasons.iter().find(|(of, _)| *of == 0);
        let other = own.map(|(_, why)| Cause::Explained(libc::ESRCH, why));
        return other.unwrap_or_else(|| cause(result));
    };
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
        None => Cause::Unexpected(result),
    }
}

/// EBADF of an open descriptor: the limit is lower than it was when the plan
/// was prepared.
fn too_high(to: u32) -> Option<&'static str> {
    let limit = limit(Limit::Descriptors).ok()?;
    let why = "that number is no longer below RLIMIT_NOFILE";
    (u64::from(to) >= limit).then_some(why)
}

/// Why exec failed, if the path and the interpreter are not the cause.
pub(super) fn exec_reason(errno: i32, no_execveat: bool) -> Cause {
    let why = match errno {
        libc::ENOEXEC if no_execveat => {
            "the kernel does not know its format; with shell_fallback \
             /bin/sh runs it"
        }
        libc::ENOEXEC => "the kernel does not know its format",
        libc::EAGAIN => {
            "that user has as many processes as RLIMIT_NPROC allows"
        }
        _ => return Cause::Os(errno),
    };
    Cause::Explained(errno, why)
}

impl Prepared {
    /// Which of the two is the cause of E2BIG.
    pub(super) fn too_large(&self) -> &'static str {
        let (arguments, environment) = self.plan.strings.sizes();
        match arguments > environment {
            true => "an argument, or all of them, are too long for execve",
            false => {
                "a variable, or the whole environment, is too long for execve"
            }
        }
    }

    /// Returns the child's root at a step, if that is not the parent's.
    pub(super) fn root_at(&self, step: u16) -> Option<&OsStr> {
        let before = self.plan.effects().take(usize::from(step));
        let roots = before.filter_map(|effect| match effect {
            Effect::Root(dir) => Some(dir),
            _ => None,
        });
        roots.last().map(|dir| self.plan.strings.get(dir))
    }
}
