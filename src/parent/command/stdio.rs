//! `Stdio`: the source of a standard descriptor.
#![allow(unsafe_code, reason = "the caller owns a raw descriptor")]

use crate::parent::std::{
    fmt,
    fs::OpenOptions,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    panic::{RefUnwindSafe, UnwindSafe},
    path::PathBuf,
    sync::Arc,
};

/// The source of a standard descriptor of the child: input, output or error.
///
/// A descriptor that is passed by value stays open until the [`Command`] is
/// dropped, as that may spawn again: the reader of a pipe whose write end was
/// passed sees end of file only after that.
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
///
/// [`Command`]: crate::Command
#[derive(Clone, Debug)]
pub struct Stdio(pub(crate) StdioSource);

/// The source that a [`Stdio`] holds.
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

/// A descriptor that an option takes, by value or by number.
#[derive(Clone)]
pub(crate) enum FdArg {
    /// The handle that owns it, as a whole: `Stdout` does not give up its own.
    Owned(Arc<dyn AsFd + Send + Sync>),
    /// A number that the caller keeps open until the spawn.
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
    /// Inherits the parent's descriptor, closed if that is closed.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(StdioSource::Inherit)
    }

    /// Opens `/dev/null`.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(StdioSource::Null)
    }

    /// Creates a pipe at each spawn. The parent's end is in the [`Child`].
    ///
    /// [`Child`]: crate::Child
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(StdioSource::Piped)
    }

    /// Closes the descriptor in the child.
    ///
    /// The next file that the program opens gets the number, and with it what
    /// the program writes to this descriptor. `null` is safer, except for
    /// programs that require a closed descriptor.
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

    /// Copies another standard descriptor of the child, 0 to 2, as the shell's
    /// `2>&1` does.
    ///
    /// Both refer to one open file, so what is written to the two keeps its
    /// order.
    ///
    /// # Errors
    ///
    /// The spawn fails, naming the option, for a number that is not 0, 1 or 2,
    /// for the descriptor itself or a closed one, and for a cycle.
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

    /// Opens a file at each spawn, in the parent, before the child is created.
    ///
    /// A missing file is an error of the option, with the path. A slow open
    /// delays the caller, but not a child that shares its memory.
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

    /// A descriptor that other options use too.
    pub(crate) fn from_shared(fd: &Arc<OwnedFd>) -> Stdio {
        let fd = Arc::clone(fd);
        Stdio(StdioSource::Fd(FdArg::Owned(fd)))
    }
}

// As in std: of the handle only the number is used.
impl UnwindSafe for Stdio {}
impl RefUnwindSafe for Stdio {}

/// Uses the descriptor of a value of this crate, std or another crate: a file,
/// a socket, an end of a pipe, or [`Stdout`] and [`Stderr`] for those of this
/// process. The value is kept and its descriptor is passed unchanged: if it is
/// non-blocking, it is so for the program too.
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
impl<T: AsFd + Send + Sync + 'static> From<T> for Stdio {
    fn from(handle: T) -> Stdio {
        Stdio(StdioSource::Fd(FdArg::Owned(Arc::new(handle))))
    }
}

/// Clause 1: the number is open, the caller owns it and passes ownership:
/// nothing else closes it. It is closed when the last command that has it is
/// dropped.
impl FromRawFd for Stdio {
    unsafe fn from_raw_fd(fd: RawFd) -> Stdio {
        // SAFETY: the caller fulfils clause 1 of this function.
        unsafe { OwnedFd::from_raw_fd(fd) }.into()
    }
}
