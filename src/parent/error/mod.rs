//! `Error`: one type, one pointer wide, that names the step.

mod step;

pub use step::Step;

use super::std::{
    boxed::Box,
    ffi::OsStr,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    vec::Vec,
};

use crate::call::Flaw;
use crate::sys::Errno;
use crate::sys::wait::Ended;

/// A file that was tried as the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    path: PathBuf,
    errno: Option<i32>,
}

impl Candidate {
    pub(crate) fn new(path: PathBuf, errno: Option<i32>) -> Candidate {
        Candidate { path, errno }
    }

    /// The path that was tried.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error number of [`execve(2)`] for it; `None` if it was not tried,
    /// or was tried but stands beyond the 60 whose answers are kept.
    ///
    /// [`execve(2)`]: https://man7.org/linux/man-pages/man2/execve.2.html
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno
    }
}

impl Error {
    /// Whether no child was made, as there was no descriptor left.
    pub(crate) fn is_full(&self) -> bool {
        let full = [Some(libc::EMFILE), Some(libc::ENFILE)];
        self.step() == Step::Clone && full.contains(&self.raw_os_error())
    }

    /// Whether no child was made for want of memory; or the PID namespace has
    /// lost its init.
    pub(crate) fn is_no_memory(&self) -> bool {
        let errno = self.raw_os_error();
        self.step() == Step::Clone && errno == Some(libc::ENOMEM)
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// With the number that a system call would have given.
    #[error("{0}")]
    Refused(&'static str, i32),
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
    #[error("{}: {}", io::Error::from_raw_os_error(*.0), .1)]
    Told(i32, &'static str),
    #[error("{0}")]
    Given(io::Error),
    #[error("it panicked")]
    Panicked,
    #[error("the child ended before exec, and somebody else knows how")]
    Ended,
    #[error("the kernel answered {0}, against its own documentation")]
    Untrue(i64),
    #[error("the child died of signal {} before exec", .0.status)]
    Killed(Ended),
    #[error("the child exited with {} before exec", .0.status)]
    Exited(Ended),
    #[error("somebody else took the exit status, and it is lost")]
    StatusLost,
    #[error("{0}: a mistake in offshoot itself")]
    Flaw(Flaw),
}

#[derive(Debug)]
struct Inner {
    step: Step,
    operand: Option<OsString>,
    cause: Cause,
    candidates: Vec<Candidate>,
}

/// What went wrong, and at which step.
///
/// One pointer wide, `Send + Sync + 'static`. Converts into [`io::Error`]
/// with the same kind, keeping itself as the source.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Step};
///
/// let error = Command::new("/bin/true").current_dir("/nope").spawn();
/// let error = error.unwrap_err();
/// assert_eq!(error.step(), Step::Chdir);
/// assert_eq!(error.operand().unwrap(), "/nope");
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// assert_eq!(
///     error.to_string(),
///     r#"chdir "/nope": No such file or directory (os error 2)"#
/// );
/// ```
pub struct Error(Box<Inner>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

impl Error {
    pub(crate) fn new(step: Step, cause: Cause) -> Error {
        let candidates = Vec::new();
        Error(Box::new(Inner { step, operand: None, cause, candidates }))
    }

    pub(crate) fn os(step: Step, errno: i32) -> Error {
        Error::new(step, Cause::Os(errno))
    }

    pub(crate) fn refused(step: Step, why: &'static str) -> Error {
        Error::refused_as(step, libc::EINVAL, why)
    }

    /// Refused with another number than EINVAL for those who must have one.
    pub(crate) fn refused_as(
        step: Step,
        errno: i32,
        why: &'static str,
    ) -> Error {
        Error::new(step, Cause::Refused(why, errno))
    }

    /// With what the number means here.
    pub(crate) fn told(step: Step, errno: i32, why: &'static str) -> Error {
        Error::new(step, Cause::Told(errno, why))
    }

    /// From std, which may have refused by itself.
    pub(crate) fn io(step: Step, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::os(step, errno),
            None => Error::refused(step, "the options of it are not valid"),
        }
    }

    pub(crate) fn ended(step: Step, ended: Option<Ended>) -> Error {
        let cause = match ended {
            None => Cause::Ended,
            Some(ended) if ended.signal().is_some() => Cause::Killed(ended),
            Some(ended) => Cause::Exited(ended),
        };
        Error::new(step, cause)
    }

    pub(crate) fn with(mut self, operand: impl AsRef<OsStr>) -> Error {
        self.0.operand = Some(operand.as_ref().to_os_string());
        self
    }

    pub(crate) fn tried(mut self, candidates: Vec<Candidate>) -> Error {
        self.0.candidates = candidates;
        self
    }

    /// The step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.step
    }

    /// What the step was about: a path, an argument, a variable's name.
    #[must_use]
    pub fn operand(&self) -> Option<&OsStr> {
        self.0.operand.as_deref()
    }

    /// The files that were tried as the program, in order, each with its
    /// error number; empty unless the step is [`Step::Exec`] or
    /// [`Step::Interpreter`].
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// The signal that ended the child before exec, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Killed(ended) => ended.signal(),
            _ => None,
        }
    }

    /// The error number of the system call that failed, if one did; of
    /// [`Step::BeforeExec`] the one that its function gave, if any.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Os(errno) | Cause::Told(errno, _) => Some(*errno),
            Cause::Given(error) => error.raw_os_error(),
            _ => None,
        }
    }

    /// The kind that std gives to the error number, or that a function gave;
    /// `InvalidInput` for what was refused before anything was made, else
    /// `Other`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &self.0.cause {
            Cause::Os(errno) | Cause::Told(errno, _) => {
                io::Error::from_raw_os_error(*errno).kind()
            }
            Cause::Given(error) => error.kind(),
            Cause::Refused(..) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}", inner.step)?;
        if let Some(operand) = &inner.operand {
            write!(f, " {operand:?}")?;
        }
        write!(f, ": {}", inner.cause)?;
        let tried = |candidate: &&Candidate| candidate.errno.is_some();
        let tried = || inner.candidates.iter().filter(tried);
        if tried().count() > 1 || inner.step == Step::Interpreter {
            for (n, candidate) in tried().enumerate() {
                let between = if n == 0 { "; tried" } else { "," };
                write!(f, "{between} {:?}", candidate.path)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("step", &self.0.step)
            .field("operand", &self.0.operand)
            .field("cause", &self.0.cause)
            .field("candidates", &self.0.candidates)
            .finish()
    }
}

impl core::error::Error for Error {
    /// What stands behind the error that a function of `before_exec` gave,
    /// which the text has already.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Given(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }
}

/// For a hook's `?`. An error that has no number (one of a kind, or made of a
/// text) is EINVAL, as std's `pre_exec` reports it.
///
/// # Examples
///
/// ```
/// use std::io;
/// use offshoot::Errno;
///
/// let full = io::Error::from_raw_os_error(28);
/// assert_eq!(Errno::from(full).raw_os_error(), 28);
/// let text = io::Error::other("no number");
/// assert_eq!(Errno::from(text).raw_os_error(), 22);
/// ```
impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno::from_raw_os_error(error.raw_os_error().unwrap_or_default())
    }
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Error>();
};
