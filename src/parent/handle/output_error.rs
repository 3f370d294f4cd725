//! `OutputError`: why the output is not complete, and what there is of it.

use crate::parent::error::{Cause, Error};
use crate::parent::std::borrow::Cow;
use crate::parent::std::process::{ExitStatus, Output};
use crate::parent::std::string::String;
use crate::parent::std::{fmt, io, vec::Vec};

/// A limit of [`Limits`](crate::Limits) that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutputLimit {
    /// [`Limits::bytes`](crate::Limits::bytes).
    Bytes,
    /// [`Limits::line_bytes`](crate::Limits::line_bytes).
    LineBytes,
    /// [`Limits::timeout`](crate::Limits::timeout) or
    /// [`Limits::deadline`](crate::Limits::deadline).
    Deadline,
}

/// Why the output of a child could not be read to its end, with what was read
/// until then.
///
/// The child was killed and has been waited for, unless the spawn itself
/// failed, an argument was refused, or it could not be ended
/// ([`OutputError::child_remains`]). Converts into
/// [`Error`], without the output, and into [`io::Error`], which contains it.
///
/// # Examples
///
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
///
/// use offshoot::{Command, Limits, OutputLimit};
///
/// let mut sh = Command::new("sh");
/// sh.args(["-c", "echo begun; exec sleep 60"]);
/// let limits = Limits::new().timeout(Duration::from_secs(1));
/// let error = sh.output_with(limits).unwrap_err();
/// assert_eq!(error.limit(), Some(OutputLimit::Deadline));
/// assert_eq!(error.stdout(), b"begun\n");
/// assert!(error.killed());
/// assert_eq!(
///     error.to_string(),
///     "read: the time limit has passed; the child was killed"
/// );
/// assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
/// ```
pub struct OutputError {
    pub(super) error: Error,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) status: Option<ExitStatus>,
    pub(super) killed: bool,
    pub(super) remains: bool,
}

/// Shows how much was read, not what: it may be a secret.
impl fmt::Debug for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputError")
            .field("error", &self.error)
            .field("stdout", &self.stdout.len())
            .field("stderr", &self.stderr.len())
            .field("status", &self.status)
            .field("killed", &self.killed)
            .field("child_remains", &self.remains)
            .finish()
    }
}

impl OutputError {
    /// Returns the limit that was reached, `None` for any other failure.
    #[must_use]
    pub fn limit(&self) -> Option<OutputLimit> {
        match self.error.cause() {
            Cause::TooMuchOutput(_) => Some(OutputLimit::Bytes),
            Cause::LongLine(_) => Some(OutputLimit::LineBytes),
            Cause::TimedOut => Some(OutputLimit::Deadline),
            _ => None,
        }
    }

    /// Returns the error: its step is [`Step::Read`] for a limit.
    ///
    /// [`Step::Read`]: crate::Step::Read
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns what was read from standard output: at most as many bytes as
    /// the limit. It has all that the child wrote before it was killed, unless
    /// that is more than the limit. After `stream_lines` it is what was not
    /// passed to the function.
    #[must_use]
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// As [`OutputError::stdout`], for standard error.
    #[must_use]
    pub fn stderr(&self) -> &[u8] {
        &self.stderr
    }

    /// Returns what was read from standard output and standard error.
    #[must_use]
    pub fn into_outputs(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout, self.stderr)
    }

    /// Returns the status of the child, if it has ended and been waited for.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Returns whether the child was still running and SIGKILL was sent, which
    /// ended it: false if its status is that of a program that had just ended.
    #[must_use]
    pub fn killed(&self) -> bool {
        self.killed
    }

    /// Returns whether the child has not ended, and is still to be waited for:
    /// this user may not kill it ([`OutputError::killed`] is false then), or it
    /// was killed and is held for more than five seconds: by a process that
    /// traces it, by a frozen control group, or by a device or file system that
    /// it waits for.
    ///
    /// The [`Child`] of the call has it. Where the call has spawned it itself,
    /// as [`Command::output_with`] does, it is reaped later, as with
    /// [`Child::reap_on_drop`].
    ///
    /// [`Child`]: crate::Child
    /// [`Child::reap_on_drop`]: crate::Child::reap_on_drop
    /// [`Command::output_with`]: crate::Command::output_with
    #[must_use]
    pub fn child_remains(&self) -> bool {
        self.remains
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed = match (self.killed, self.remains) {
            (false, false) => "",
            (false, true) => "; the child may not be killed",
            (true, false) => "; the child was killed",
            (true, true) => "; the child was killed, and has not ended yet",
        };
        write!(f, "{}{killed}", self.error)
    }
}

impl core::error::Error for OutputError {
    /// Returns the source of [`OutputError::error`], which itself is in the
    /// text.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}

/// Nothing was read.
impl From<Error> for OutputError {
    fn from(error: Error) -> OutputError {
        let (stdout, stderr) = (Vec::new(), Vec::new());
        OutputError {
            error,
            stdout,
            stderr,
            status: None,
            killed: false,
            remains: false,
        }
    }
}

impl From<OutputError> for Error {
    fn from(error: OutputError) -> Error {
        error.error
    }
}

impl From<OutputError> for io::Error {
    fn from(error: OutputError) -> io::Error {
        io::Error::new(error.error.kind(), error)
    }
}

/// Text of an output: bytes that are not UTF-8 are replaced by U+FFFD.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, OutputText};
///
/// let output = Command::new("printf").arg(r"caf\351").output()?;
/// assert_eq!(output.stdout_lossy(), "caf\u{fffd}");
/// assert_eq!(output.stderr_lossy(), "");
/// # Ok::<(), offshoot::Error>(())
/// ```
pub trait OutputText {
    /// Returns the text of standard output.
    #[must_use]
    fn stdout_lossy(&self) -> Cow<'_, str>;

    /// Returns the text of standard error.
    #[must_use]
    fn stderr_lossy(&self) -> Cow<'_, str>;
}

impl OutputText for Output {
    fn stdout_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    fn stderr_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}

impl OutputText for OutputError {
    fn stdout_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    fn stderr_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }
}
