//! Cause: why a step failed, as a text and as an errno.

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
    /// An option that is not valid, and the errno that a system call would
    /// have.
    #[error("{0}")]
    Refused(&'static str, i32),
    /// An option that the operand, which is an option too, excludes.
    #[error("cannot be combined with `{0}`")]
    Conflict(&'static str),
    /// A number in the child, and the other option that assigns it.
    #[error("descriptor {number} is assigned twice{}", also(*.by))]
    AssignedTwice { number: i32, by: Option<Step> },
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
    #[error("{}: {}", io::Error::from_raw_os_error(*.0), .1)]
    Explained(i32, &'static str),
    #[error("{0}")]
    Function(io::Error),
    #[error("the function panicked")]
    Panicked,
    #[error("the child ended before exec, and its exit status is lost")]
    Ended,
    #[error("the call returned {0}, which its documentation excludes")]
    Unexpected(i64),
    #[error("signal {} killed the child before exec", .0.status)]
    Killed(Ended),
    #[error(
        "{}: a seccomp filter killed the child for this call (SIGSYS)",
        io::Error::from_raw_os_error(libc::ENOSYS)
    )]
    Trapped,
    #[error(
        "{}: the child's own filter killed it for this call (SIGSYS)",
        io::Error::from_raw_os_error(libc::EPERM)
    )]
    KilledByFilter,
    #[error("the child exited with {} before exec", .0.status)]
    Exited(Ended),
    #[error(
        "the exit status is lost: another thread reaped the child, or SIGCHLD \
         is ignored"
    )]
    StatusLost,
    #[error(
        "what the child has used is lost: another thread reaped it, or SIGCHLD \
         is ignored"
    )]
    UsageLost,
    #[error("the time limit has passed")]
    TimedOut,
    #[error("there is more output than the limit of {0} bytes")]
    TooMuchOutput(u64),
    #[error("a line is longer than the limit of {0} bytes")]
    LongLine(u64),
    #[error("{0} (a bug in offshoot)")]
    VerifyError(VerifyError),
}

fn also(by: Option<Step>) -> String {
    by.map_or_else(String::new, |by| format!(", by `{by}` as well"))
}

impl Cause {
    /// The errno of a failed system call or function.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Cause::Os(errno) | Cause::Explained(errno, _) => Some(*errno),
            Cause::Function(error) => error.raw_os_error(),
            Cause::Trapped => Some(libc::ENOSYS),
            Cause::KilledByFilter => Some(libc::EPERM),
            _ => None,
        }
    }

    /// The closest errno.
    pub(super) fn nearest(&self) -> i32 {
        match self {
            Cause::Refused(_, errno) => *errno,
            Cause::Ended
            | Cause::Killed(_)
            | Cause::Exited(_)
            | Cause::StatusLost
            | Cause::UsageLost => libc::ECHILD,
            Cause::Panicked => libc::ECANCELED,
            Cause::TimedOut => libc::ETIMEDOUT,
            Cause::TooMuchOutput(_) | Cause::LongLine(_) => libc::EFBIG,
            Cause::Unexpected(_) => libc::EIO,
            _ => self.errno().unwrap_or(libc::EINVAL),
        }
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        match (self, self.errno()) {
            (Cause::Function(error), _) => error.kind(),
            (_, Some(errno)) => io::Error::from_raw_os_error(errno).kind(),
            (
                Cause::Refused(..)
                | Cause::Conflict(_)
                | Cause::AssignedTwice { .. },
                None,
            ) => io::ErrorKind::InvalidInput,
            (
                Cause::TimedOut | Cause::TooMuchOutput(_) | Cause::LongLine(_),
                None,
            ) => io::Error::from_raw_os_error(self.nearest()).kind(),
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_string();
        match (self, self.errno()) {
            (Cause::Function(error), _) => {
                f.debug_tuple("Function").field(error).finish()
            }
            (_, Some(errno)) => {
                f.debug_tuple("Os").field(&Named(errno)).field(&text).finish()
            }
            (
                Cause::Refused(..)
                | Cause::Conflict(_)
                | Cause::AssignedTwice { .. },
                None,
            ) => f.debug_tuple("Refused").field(&text).finish(),
            _ => f.debug_tuple("Other").field(&text).finish(),
        }
    }
}
