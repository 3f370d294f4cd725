//! `Error`: the failed step, its operand and the cause.

mod cause;
mod names;
mod step;

pub(crate) use cause::Cause;
pub use step::Step;

use super::std::{
    boxed::Box,
    ffi::OsStr,
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    vec::Vec,
};

use crate::sys::Errno;
use crate::sys::wait::Ended;
use names::Named;

/// A file that was tried as the program, and the errno.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    path: PathBuf,
    errno: Option<i32>,
}

impl Candidate {
    pub(crate) fn new(path: PathBuf, errno: Option<i32>) -> Candidate {
        Candidate { path, errno }
    }

    pub(crate) fn failed_with(&self, errno: i32) -> bool {
        self.errno == Some(errno)
    }

    /// Whether its errno shows that there is such a file.
    fn exists(&self) -> bool {
        self.errno.is_some_and(|errno| !Errno(errno).tries_next())
    }

    /// Returns the path that was tried.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the errno of its [`execve(2)`]; `None` if it was not tried, or
    /// was not among the first 60, whose errnos are recorded.
    ///
    /// [`execve(2)`]: https://man7.org/linux/man-pages/man2/execve.2.html
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.errno
    }
}

struct Inner {
    step: Step,
    operand: Option<OsString>,
    /// The child's root at the step, if that was not the parent's.
    root: Option<OsString>,
    cause: Cause,
    candidates: Vec<Candidate>,
}

/// The step that failed, its operand and the cause.
///
/// It is one pointer wide and `Send + Sync + 'static`. It converts into
/// [`io::Error`], also by `?`, with the same kind and text. The `io::Error`
/// has no `raw_os_error()`, as it contains either a number or an error;
/// [`io::Error::get_ref`] returns this error, which has the number.
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
/// // After conversion into an io::Error:
/// let io = std::io::Error::from(error);
/// let inside = io.get_ref().and_then(|e| e.downcast_ref::<offshoot::Error>());
/// assert_eq!(inside.and_then(|e| e.raw_os_error()), Some(2));
/// ```
pub struct Error(Box<Inner>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

impl Error {
    pub(crate) fn new(step: Step, cause: Cause) -> Error {
        let candidates = Vec::new();
        let (operand, root) = (None, None);
        Error(Box::new(Inner { step, operand, root, cause, candidates }))
    }

    pub(crate) fn os(step: Step, errno: i32) -> Error {
        Error::new(step, Cause::Os(errno))
    }

    pub(crate) fn refused(step: Step, why: &'static str) -> Error {
        Error::refused_as(step, libc::EINVAL, why)
    }

    /// An option that is not valid, with an errno for
    /// [`errno_or_einval`](Error::errno_or_einval).
    pub(crate) fn refused_as(
        step: Step,
        errno: i32,
        why: &'static str,
    ) -> Error {
        Error::new(step, Cause::Refused(why, errno))
    }

    pub(crate) fn explained(
        step: Step,
        errno: i32,
        why: &'static str,
    ) -> Error {
        Error::new(step, Cause::Explained(errno, why))
    }

    /// From std, which rejects invalid options of `Stdio::open` itself.
    pub(crate) fn io(step: Step, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => Error::os(step, errno),
            None => Error::refused(step, "its OpenOptions are not valid"),
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

    pub(crate) fn in_root(mut self, root: Option<&OsStr>) -> Error {
        self.0.root = root.map(OsStr::to_os_string);
        self
    }

    pub(crate) fn with_candidates(
        mut self,
        candidates: Vec<Candidate>,
    ) -> Error {
        self.0.candidates = candidates;
        self
    }

    /// A child that was killed as its time was over.
    pub(crate) fn timed_out_if_killed(mut self) -> Error {
        let killed = matches!(self.0.cause, Cause::Killed(_));
        if killed && self.signal() == Some(libc::SIGKILL) {
            self.0.cause = Cause::TimedOut;
        }
        self
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// Whether no child was created, for one of these reasons.
    pub(crate) fn is_clone_error(&self, errnos: &[i32]) -> bool {
        let errno = self.raw_os_error();
        self.step() == Step::Clone
            && errno.is_some_and(|e| errnos.contains(&e))
    }

    /// Returns the step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.step
    }

    /// Returns the step's operand: a path, an argument, a variable's name.
    #[must_use]
    pub fn operand(&self) -> Option<&OsStr> {
        self.0.operand.as_deref()
    }

    /// Returns the files that were tried as the program, in order; empty
    /// unless the step is [`Step::Exec`] or [`Step::Interpreter`].
    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.0.candidates
    }

    /// Returns the signal that killed the child before exec, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Killed(ended) => ended.signal(),
            Cause::Trapped | Cause::KilledByFilter => Some(libc::SIGSYS),
            _ => None,
        }
    }

    /// Returns the child's root directory at the step, if
    /// [`Command::chroot`](crate::Command::chroot) had changed it: the operand
    /// is a path below it.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.0.root.as_deref().map(Path::new)
    }

    /// Returns the errno of the system call that failed, if one did. For
    /// [`Step::BeforeExec`] and [`Step::StreamLines`] it is that of the
    /// function's error, if it has one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.cause.errno()
    }

    /// Returns the errno of the system call, else the closest one, for
    /// interfaces that need a number:
    ///
    /// - EBADF: a number that no descriptor can have.
    /// - ENOENT: an empty path, or a script that its interpreter cannot open.
    /// - E2BIG: the plan is too large.
    /// - ECHILD: the child ended before exec, or its exit status is lost.
    /// - ETIMEDOUT: a time limit of a start or of the output has passed.
    /// - EFBIG: there is more output, or a longer line, than its limit.
    /// - ECANCELED: a function passed to `pre_exec` panicked.
    /// - EIO: a system call succeeded without effect.
    /// - EINVAL: any other option that is not valid, and any other error
    ///   without an errno.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let error = Command::new("/bin/true").arg("a\0b").spawn().unwrap_err();
    /// assert_eq!(error.raw_os_error(), None);
    /// assert_eq!(error.errno_or_einval(), 22);
    /// let error = Command::new("/no/such").spawn().unwrap_err();
    /// assert_eq!(error.errno_or_einval(), 2);
    /// ```
    #[must_use]
    pub fn errno_or_einval(&self) -> i32 {
        self.0.cause.nearest()
    }

    /// Returns the kind that std has for the errno, or the kind of a
    /// function's error; `InvalidInput` for an option that is not valid,
    /// `TimedOut` and `FileTooLarge` for a limit, else `Other`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.0.cause.kind()
    }
}

/// Shows the step, the operand and the cause. The files that were tried follow
/// if any of them exists; otherwise only [`Error::candidates`] has them.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let (Cause::Conflict(_), Some(option)) =
            (&inner.cause, &inner.operand)
        {
            return write!(
                f,
                "`{}` {}",
                Path::new(option).display(),
                inner.cause
            );
        }
        write!(f, "{}", inner.step)?;
        if let Some(operand) = &inner.operand {
            write!(f, " {operand:?}")?;
        }
        if let Some(root) = &inner.root {
            write!(f, " in the root {root:?}")?;
        }
        write!(f, ": {}", inner.cause)?;
        let tried = || {
            let all = inner.candidates.iter();
            all.filter(|candidate| candidate.errno.is_some())
        };
        let found = tried().any(Candidate::exists) && tried().count() > 1;
        if found || inner.step == Step::Interpreter {
            for (n, candidate) in tried().enumerate() {
                let between = if n == 0 { "; tried" } else { "," };
                write!(f, "{between} {:?}", candidate.path)?;
            }
        }
        Ok(())
    }
}

/// Shows one line, as `main` prints it: the errno by its name, and at most
/// eight of the files that were tried.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let mut shown = f.debug_struct("Error");
        shown.field("step", &inner.step);
        if let Some(operand) = &inner.operand {
            shown.field("operand", operand);
        }
        if let Some(root) = &inner.root {
            shown.field("root", root);
        }
        shown.field("cause", &inner.cause);
        if !inner.candidates.is_empty() {
            shown.field("candidates", &Few(&inner.candidates));
        }
        shown.finish()
    }
}

/// The first of a list that may be long.
struct Few<'a>(&'a [Candidate]);

impl fmt::Debug for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let mut list = f.debug_list();
        list.entries(self.0.iter().take(SHOWN));
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => list.finish(),
            Some(_) => list.finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Candidate");
        shown.field("path", &self.path);
        shown.field("errno", &self.errno.map(Named)).finish()
    }
}

impl core::error::Error for Error {
    /// Returns the source of the error of a function that was passed to
    /// `before_exec` or `stream_lines`; that error itself is in the text.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Function(error) => error.source(),
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

/// For `?` in a hook. An error without an errno (made from a kind or a text)
/// becomes EINVAL, as in std's `pre_exec`.
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
