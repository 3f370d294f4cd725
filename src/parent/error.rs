//! `Error`: one type, one pointer wide, that names the step.

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

/// The step that failed: an option that was refused, a call that the parent
/// made before there was a child, a call that the child made before exec, or
/// one on the running child.
///
/// Displays as the option's or the system call's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The program's name, refused before anything is made.
    Program,
    /// An argument, refused before anything is made.
    Arg,
    /// A variable of the environment, refused before anything is made.
    Env,
    /// The directory's name, refused before anything is made.
    CurrentDir,
    /// Standard input: the descriptor for it could not be made.
    Stdin,
    /// Standard output: the descriptor for it could not be made.
    Stdout,
    /// Standard error: the descriptor for it could not be made.
    Stderr,
    /// `arg0`, refused before anything is made.
    Arg0,
    /// `path_search`, refused before anything is made.
    PathSearch,
    /// `method`, refused before anything is made.
    Method,
    /// `memory`, refused before anything is made.
    Memory,
    /// `process_group`, refused before anything is made.
    ProcessGroup,
    /// `umask`, refused before anything is made.
    Umask,
    /// `uid`, refused before anything is made.
    Uid,
    /// `gid`, refused before anything is made.
    Gid,
    /// `groups`, refused before anything is made.
    Groups,
    /// `set_tid`: refused, or the kernel does not give those ids.
    SetTid,
    /// `cgroup`: the group cannot be opened or entered.
    Cgroup,
    /// Compiling the plan; the text says what is wrong.
    Plan,
    /// [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html) or
    /// clone3: no child was made.
    Clone,
    /// [`set_robust_list(2)`](https://man7.org/linux/man-pages/man2/get_robust_list.2.html)
    /// in the child.
    RobustList,
    /// [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html)
    /// in the child, or it had no effect.
    CloseRange,
    /// [`dup3(2)`](https://man7.org/linux/man-pages/man2/dup.2.html) in the
    /// child.
    Dup,
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html) in
    /// the child.
    Close,
    /// `setsid`: refused, or
    /// [`setsid(2)`](https://man7.org/linux/man-pages/man2/setsid.2.html) in
    /// the child.
    Setsid,
    /// [`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    /// in the child.
    Setpgid,
    /// [`setgroups(2)`](https://man7.org/linux/man-pages/man2/setgroups.2.html)
    /// in the child, or it had no effect.
    Setgroups,
    /// [`setresgid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresgid,
    /// [`setresuid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresuid,
    /// [`chdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) in
    /// the child.
    Chdir,
    /// A function given to `pre_exec` or `pre_exec_shared`.
    PreExec,
    /// [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    /// in the child.
    SignalAction,
    /// [`sigprocmask(2)`](https://man7.org/linux/man-pages/man2/sigprocmask.2.html)
    /// in the child.
    SignalMask,
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html).
    Exec,
    /// The program is there, but the interpreter that it names (`#!`, or the
    /// dynamic loader of an ELF file) is not. The operand is the interpreter.
    Interpreter,
    /// [`waitid(2)`](https://man7.org/linux/man-pages/man2/waitid.2.html) for
    /// the child.
    Wait,
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    /// to the child.
    Kill,
    /// Reading what the child writes.
    Read,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Step::Program => "program",
            Step::Arg => "arg",
            Step::Env => "env",
            Step::CurrentDir => "current_dir",
            Step::Stdin => "stdin",
            Step::Stdout => "stdout",
            Step::Stderr => "stderr",
            Step::Arg0 => "arg0",
            Step::PathSearch => "path_search",
            Step::Method => "method",
            Step::Memory => "memory",
            Step::ProcessGroup => "process_group",
            Step::Umask => "umask",
            Step::Uid => "uid",
            Step::Gid => "gid",
            Step::Groups => "groups",
            Step::SetTid => "set_tid",
            Step::Cgroup => "cgroup",
            Step::Plan => "plan",
            Step::Clone => "clone",
            Step::RobustList => "set_robust_list",
            Step::CloseRange => "close_range",
            Step::Dup => "dup3",
            Step::Close => "close",
            Step::Setsid => "setsid",
            Step::Setpgid => "setpgid",
            Step::Setgroups => "setgroups",
            Step::Setresgid => "setresgid",
            Step::Setresuid => "setresuid",
            Step::Chdir => "chdir",
            Step::PreExec => "pre_exec",
            Step::SignalAction => "sigaction",
            Step::SignalMask => "sigprocmask",
            Step::Exec => "execve",
            Step::Interpreter => "interpreter",
            Step::Wait => "waitid",
            Step::Kill => "kill",
            Step::Read => "read",
        })
    }
}

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

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{0}")]
    Refused(&'static str),
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Os(i32),
    #[error("{}: {}", io::Error::from_raw_os_error(*.0), .1)]
    Told(i32, &'static str),
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
        Error::new(step, Cause::Refused(why))
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

    /// The error number of the system call that failed, if one did.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.0.cause {
            Cause::Os(errno) | Cause::Told(errno, _) => Some(*errno),
            _ => None,
        }
    }

    /// The kind that std gives to the error number; `InvalidInput` for what
    /// was refused before anything was made, else `Other`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &self.0.cause {
            Cause::Os(errno) | Cause::Told(errno, _) => {
                io::Error::from_raw_os_error(*errno).kind()
            }
            Cause::Refused(_) => io::ErrorKind::InvalidInput,
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

impl core::error::Error for Error {}

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

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Error>();
};
