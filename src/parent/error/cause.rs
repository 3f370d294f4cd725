//! Cause: why a step failed, in words and as a number.

use super::names::Named;
use super::step::Step;
use crate::call::VerifyError;
use crate::parent::std::{
    fmt, format, io,
    string::{String, ToString},
};
use crate::sys::wait::Ended;

/// Why a step failed.
#[derive(thiserror::Error)]
pub(crate) enum Cause {
    /// With the number that a system call would have given.
    #[error("{0}")]
    Refused(&'static str, i32),
    /// An option that excludes the operand, which is an option too.
    #[error("cannot be combined with `{0}`")]
    Conflict(&'static str),
    /// A number in the child, and another option that gives it.
    #[error("descriptor {number} is assigned twice{}", also(*.by))]
    AssignedTwice { number: i32, by: Option<Step> },
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
    #[error("{}: {}", io::Error::from_raw_os_error(*.0), .1)]
    Explained(i32, &'static str),
    #[error("{0}")]
    ParentHook(io::Error),
    #[error("it panicked")]
    Panicked,
    #[error("the child ended before exec, and somebody else knows how")]
    Ended,
    #[error("the kernel answered {0}, against its own documentation")]
    Unexpected(i64),
    #[error("the child died of signal {} before exec", .0.status)]
    Killed(Ended),
    #[error(
        "{}: the child died of SIGSYS, as a seccomp filter traps the call",
        io::Error::from_raw_os_error(libc::ENOSYS)
    )]
    Trapped,
    #[error("the child exited with {} before exec", .0.status)]
    Exited(Ended),
    #[error("somebody else took the exit status, and it is lost")]
    StatusLost,
    #[error("{0}: a mistake in offshoot itself")]
    VerifyError(VerifyError),
}

/// Which other option an error names, if it is another.
fn also(by: Option<Step>) -> String {
    by.map_or_else(String::new, |by| format!(", by `{by}` as well"))
}

impl Cause {
    /// The error number of a system call, or of a function that failed.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Cause::Os(errno) | Cause::Explained(errno, _) => Some(*errno),
            Cause::ParentHook(error) => error.raw_os_error(),
            Cause::Trapped => Some(libc::ENOSYS),
            _ => None,
        }
    }

    /// The number that comes nearest, where one is needed.
    pub(super) fn nearest(&self) -> i32 {
        match self {
            Cause::Os(errno)
            | Cause::Explained(errno, _)
            | Cause::Refused(_, errno) => *errno,
            Cause::ParentHook(error) => {
                error.raw_os_error().unwrap_or(libc::EINVAL)
            }
            Cause::Ended
            | Cause::Killed(_)
            | Cause::Exited(_)
            | Cause::StatusLost => libc::ECHILD,
            Cause::Trapped => libc::ENOSYS,
            Cause::Panicked => libc::ECANCELED,
            Cause::Unexpected(_) => libc::EIO,
            Cause::Conflict(_)
            | Cause::AssignedTwice { .. }
            | Cause::VerifyError(_) => libc::EINVAL,
        }
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Cause::Os(errno) | Cause::Explained(errno, _) => {
                io::Error::from_raw_os_error(*errno).kind()
            }
            Cause::ParentHook(error) => error.kind(),
            Cause::Trapped => io::ErrorKind::Unsupported,
            Cause::Refused(..)
            | Cause::Conflict(_)
            | Cause::AssignedTwice { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = self.to_string();
        match self {
            Cause::Os(errno) | Cause::Explained(errno, _) => {
                f.debug_tuple("Os").field(&Named(*errno)).field(&says).finish()
            }
            Cause::Trapped => {
                let errno = Named(libc::ENOSYS);
                f.debug_tuple("Os").field(&errno).field(&says).finish()
            }
            Cause::Refused(..)
            | Cause::Conflict(_)
            | Cause::AssignedTwice { .. } => {
                f.debug_tuple("Refused").field(&says).finish()
            }
            Cause::ParentHook(error) => {
                f.debug_tuple("Given").field(error).finish()
            }
            _ => f.debug_tuple("Other").field(&says).finish(),
        }
    }
}
