//! `Stdio`: what becomes of a child's standard descriptor.

use super::std::{
    fs::{File, OpenOptions},
    os::fd::OwnedFd,
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
    Given(Arc<OwnedFd>),
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
        Stdio(Source::Given(Arc::new(fd)))
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
