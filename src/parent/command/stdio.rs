//! `Stdio`: what becomes of a child's standard descriptor.
#![allow(unsafe_code, reason = "a number that the caller vouches for")]

use crate::parent::std::{
    fmt,
    fs::OpenOptions,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    panic::{RefUnwindSafe, UnwindSafe},
    path::PathBuf,
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
pub struct Stdio(pub(crate) StdioSource);

/// The same, as the plan reads it.
#[derive(Clone, Debug)]
pub(crate) enum StdioSource {
    Inherit,
    Null,
    Piped,
    Open(Arc<PathBuf>, Arc<OpenOptions>),
    Fd(FdArg),
    Closed,
    SameAs(i32),
}

/// A descriptor that the caller has given, or only named.
#[derive(Clone)]
pub(crate) enum FdArg {
    /// What owns it, whole: `Stdout` does not give its own up.
    Owned(Arc<dyn AsFd + Send + Sync>),
    /// Open until the spawn by the caller's promise.
    Raw(RawFd),
}

impl FdArg {
    pub(crate) fn number(&self) -> RawFd {
        match self {
            FdArg::Owned(handle) => handle.as_fd().as_raw_fd(),
            FdArg::Raw(number) => *number,
        }
    }
}

impl fmt::Debug for FdArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            FdArg::Owned(_) => "Owned",
            FdArg::Raw(_) => "Raw",
        };
        f.debug_tuple(name).field(&self.number()).finish()
    }
}

impl Stdio {
    /// The child has the parent's descriptor, closed if that is closed.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(StdioSource::Inherit)
    }

    /// The child reads nothing from, or writes nothing to, `/dev/null`.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(StdioSource::Null)
    }

    /// A fresh pipe each spawn; the parent's end is in the [`Child`].
    ///
    /// [`Child`]: crate::Child
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(StdioSource::Piped)
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
        Stdio(StdioSource::Closed)
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
        Stdio(StdioSource::SameAs(number))
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
        Stdio(StdioSource::Open(Arc::new(path.into()), options))
    }
}

/// Whatever has a descriptor: a file, a socket, an end of a pipe, of this
/// crate's, std's or another's; [`Stdout`] and [`Stderr`], for those of this
/// process. What is given is kept as it is, and its descriptor passed as it
/// is: one that a runtime has made non-blocking is that for the program too.
///
/// [`Stdout`]: https://doc.rust-lang.org/std/io/struct.Stdout.html
/// [`Stderr`]: https://doc.rust-lang.org/std/io/struct.Stderr.html
///
/// # Examples
///
/// ```
/// use std::io;
/// use std::os::unix::net::UnixStream;
///
/// use offshoot::Command;
///
/// let (_here, there) = UnixStream::pair()?;
/// let mut ls = Command::new("ls");
/// ls.stdin(there).stdout(io::stderr());
/// assert!(ls.status()?.success());
/// # Ok::<(), io::Error>(())
/// ```
// As std's is: what is asked of the handle that it keeps is its number.
impl UnwindSafe for Stdio {}
impl RefUnwindSafe for Stdio {}

impl<T: AsFd + Send + Sync + 'static> From<T> for Stdio {
    fn from(handle: T) -> Stdio {
        Stdio(StdioSource::Fd(FdArg::Owned(Arc::new(handle))))
    }
}

/// Clause 1: whoever gives the number owns it, and gives it up: it is open,
/// and nobody else closes it. It is closed as the last command that has it is
/// dropped.
impl FromRawFd for Stdio {
    unsafe fn from_raw_fd(fd: RawFd) -> Stdio {
        // SAFETY: clause 1 of this function, which the caller keeps.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}
