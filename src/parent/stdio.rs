//! `Stdio`: what becomes of a child's standard descriptor.

use super::std::{
    fs::{File, OpenOptions},
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
    process::{ChildStderr, ChildStdin, ChildStdout},
    sync::Arc,
};

/// What a child's standard input, output or error is connected to.
///
/// A descriptor given by value is kept by the [`Command`] until that is
/// dropped, as it may spawn again: a reader of a pipe whose writing end was
/// given away sees its end only after that.
///
/// [`Command`]: crate::Command
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Stdio};
///
/// let output = Command::new("/bin/cat")
///     .stdin(Stdio::null())
///     .stdout(Stdio::piped())
///     .spawn()?
///     .wait_with_output()?;
/// assert_eq!(output.stdout, b"");
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stdio(pub(crate) Source);

/// The same, as the plan reads it.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Inherit,
    Null,
    Piped,
    Open(Arc<PathBuf>, Arc<OpenOptions>),
    Given(Lent),
    Closed,
    Same(i32),
}

/// A descriptor that the caller has given, or only named.
#[derive(Clone, Debug)]
pub(crate) enum Lent {
    Owned(Arc<OwnedFd>),
    /// Open until the spawn by the caller's promise.
    Raw(RawFd),
}

impl Stdio {
    /// The child has the parent's descriptor, closed if that is closed.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Source::Inherit)
    }

    /// The child reads nothing from, or writes nothing to, `/dev/null`.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(Source::Null)
    }

    /// A fresh pipe each spawn; the parent's end is in the [`Child`].
    ///
    /// [`Child`]: crate::Child
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(Source::Piped)
    }

    /// The child has nothing open at this number. A program that opens a file
    /// gets the number for it, and its messages then go there: `null` is the
    /// safer choice for all but programs that ask for this.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "test ! -e /proc/self/fd/0"]).stdin(Stdio::closed());
    /// assert!(sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn closed() -> Stdio {
        Stdio(Source::Closed)
    }

    /// The same as another of the child's standard descriptors, 0 to 2, as
    /// the shell's `2>&1`: both share one file, so what is written to the two
    /// keeps its order.
    ///
    /// # Errors
    ///
    /// Refused, naming the option: a number that is not 0, 1 or 2, itself,
    /// one that is closed, or two that are the same as each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "echo out; echo err >&2"]).stderr(Stdio::same_as(1));
    /// assert_eq!(sh.output()?.stdout, b"out\nerr\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn same_as(number: RawFd) -> Stdio {
        Stdio(Source::Same(number))
    }

    /// A file that is opened each spawn, in the parent, before the child is
    /// made: a missing file is an error of this option with its path, and a
    /// slow one delays the caller, not a child that shares its memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::OpenOptions;
    ///
    /// use offshoot::{Command, Stdio, Step};
    ///
    /// let mut read = OpenOptions::new();
    /// read.read(true);
    /// let error = Command::new("/bin/cat")
    ///     .stdin(Stdio::open("/no/such/file", &read))
    ///     .spawn()
    ///     .unwrap_err();
    /// assert_eq!(error.step(), Step::Stdin);
    /// assert_eq!(error.operand().unwrap(), "/no/such/file");
    /// ```
    #[must_use]
    pub fn open(path: impl Into<PathBuf>, options: &OpenOptions) -> Stdio {
        let options = Arc::new(options.clone());
        Stdio(Source::Open(Arc::new(path.into()), options))
    }
}

impl From<OwnedFd> for Stdio {
    fn from(fd: OwnedFd) -> Stdio {
        Stdio(Source::Given(Lent::Owned(Arc::new(fd))))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        OwnedFd::from(file).into()
    }
}

impl From<ChildStdin> for Stdio {
    fn from(pipe: ChildStdin) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

impl From<ChildStdout> for Stdio {
    fn from(pipe: ChildStdout) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}

impl From<ChildStderr> for Stdio {
    fn from(pipe: ChildStderr) -> Stdio {
        OwnedFd::from(pipe).into()
    }
}
