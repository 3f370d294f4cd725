//! `Error`: one type, one pointer wide, that names the step.

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

/// A file that was tried as the program.
#[derive(Clone, PartialEq, Eq)]
pub struct Candidate {
    path: PathBuf,
    errno: Option<i32>,
}

impl Candidate {
    pub(crate) fn new(path: PathBuf, errno: Option<i32>) -> Candidate {
        Candidate { path, errno }
    }

    /// Whether this was said of it.
    pub(crate) fn failed_with(&self, errno: i32) -> bool {
        self.errno == Some(errno)
    }

    /// Whether what was said of it says that there is such a file.
    fn exists(&self) -> bool {
        self.errno.is_some_and(|errno| !Errno(errno).tries_next())
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
    /// Whether no child was created for lack of a free descriptor.
    pub(crate) fn is_fd_limit(&self) -> bool {
        let full = [Some(libc::EMFILE), Some(libc::ENFILE)];
        self.step() == Step::Clone && full.contains(&self.raw_os_error())
    }

    /// Whether no child was created for lack of memory, or because the init of
    /// the PID namespace has ended.
    pub(crate) fn is_no_memory(&self) -> bool {
        let errno = self.raw_os_error();
        self.step() == Step::Clone && errno == Some(libc::ENOMEM)
    }
}

struct Inner {
    step: Step,
    operand: Option<OsString>,
    /// The root that the child had by then, if that was not ours.
    root: Option<OsString>,
    cause: Cause,
    candidates: Vec<Candidate>,
}

/// What went wrong, and at which step.
///
/// One pointer wide, `Send + Sync + 'static`. Converts into [`io::Error`], by
/// `?` too, with the same kind and text. That has no `raw_os_error()`, as it
/// keeps a number or an error: [`io::Error::get_ref`] is this error, with its
/// number, where `source()` is not.
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
/// // Where it has become an io::Error:
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

    /// Refused with another number than EINVAL for those who must have one.
    pub(crate) fn refused_as(
        step: Step,
        errno: i32,
        why: &'static str,
    ) -> Error {
        Error::new(step, Cause::Refused(why, errno))
    }

    /// With what the number means here.
    pub(crate) fn explained(
        step: Step,
        errno: i32,
        why: &'static str,
    ) -> Error {
        Error::new(step, Cause::Explained(errno, why))
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

    /// Whatever it was, it was looked for below a root of the child's own.
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
            Cause::Trapped => Some(libc::SIGSYS),
            _ => None,
        }
    }

    /// The directory that was the child's root by then, where
    /// [`Command::chroot`](crate::Command::chroot) names one: the operand is a
    /// path below it.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.0.root.as_deref().map(Path::new)
    }

    /// The error number of the system call that failed, if one did; of
    /// [`Step::BeforeExec`] the one that its function gave, if any.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.cause.errno()
    }

    /// An error number, for those who must return one: that of the system
    /// call, else the nearest there is.
    ///
    /// For what was refused before any process was made it is what a system
    /// call would have said: EBADF for a number that no descriptor can have,
    /// ENOENT for an empty path and a script that could not be found, E2BIG
    /// for more than fits into a plan, else EINVAL. ECHILD says that the
    /// child ended before it was the program, or that its status is lost;
    /// ECANCELED, that a function of `pre_exec` panicked; EIO, that a system
    /// call did not do what it said; EINVAL, that there is no number for it.
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

    /// The kind that std gives to the error number, or that a function gave;
    /// `InvalidInput` for what was refused before anything was made, else
    /// `Other`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.0.cause.kind()
    }
}

/// The step, what it was about, and why. The files that were tried follow
/// where any of them was there; else they are in [`Error::candidates`] only.
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
        let tried = |candidate: &&Candidate| candidate.errno.is_some();
        let tried = || inner.candidates.iter().filter(tried);
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

/// What `main` prints, on one line: the error number by its name, and eight
/// of the files that were tried.
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
    /// What stands behind the error that a function of `before_exec` gave,
    /// which the text has already.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.cause {
            Cause::ParentHook(error) => error.source(),
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
