//! `Engine`, `Method` and `Memory`: how a child is created.

use crate::parent::std::fmt;

/// How a child was created.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine};
///
/// let mut child = Command::new("/bin/true").spawn()?;
/// assert_eq!(child.launch().engine(), Engine::Suspended);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// Like vfork: the child runs in the caller's memory while the calling
    /// thread is suspended, until exec or death. The cost does not depend on
    /// the size of that memory.
    Suspended,
    /// As suspended, but the child first executes a small helper program from
    /// a sealed memfd, which performs the remaining steps in memory of its
    /// own. For ids and other steps that must not run in the caller's memory.
    /// The cost does not depend on the size of that memory. Signal handlers
    /// run in the caller once the helper has started.
    ///
    /// A spawn that fails after that exec raises SIGCHLD, as the child is an
    /// ordinary one by then. The error is reported even if another thread
    /// reaps the child.
    Isolated,
    /// Like fork: the child runs in a copy of the caller's memory. The cost
    /// grows with the size of that memory, about 40 ms per GiB. Signal handlers
    /// run in the caller meanwhile.
    Copied,
    /// As copied, but with a plain clone and an error pipe whose end of file
    /// means exec: for emulators that support nothing else. A thread that
    /// forks without exec meanwhile delays the spawn, a failed child raises
    /// SIGCHLD, and [`Launch::confirmed`] is false.
    ///
    /// [`Launch::confirmed`]: crate::Launch::confirmed
    Pipe,
    /// As suspended, but the caller runs on: many children of one thread start
    /// beside each other and beside it. [`spawn_all`] uses it, from Linux 5.5
    /// on; not for a child in a control group, for hooks, system calls of the
    /// caller's, and `oom_score_adj`, which would reach the caller.
    ///
    /// [`spawn_all`]: crate::spawn_all
    Concurrent,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Suspended => "suspended",
            Engine::Isolated => "isolated",
            Engine::Copied => "copied",
            Engine::Pipe => "pipe",
            Engine::Concurrent => "concurrent",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The system call that creates the child ([`clone(2)`]).
///
/// `Auto` uses the best call that works. With any other method the spawn uses
/// that call or fails.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine, Method};
///
/// let mut child = Command::new("/bin/true").method(Method::Fork).spawn()?;
/// assert_eq!(child.launch().call(), "clone");
/// assert_eq!(child.launch().engine(), Engine::Copied);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// clone3, else clone; with shared memory if the options allow it.
    #[default]
    Auto,
    /// clone as fork makes it, with a copy of the memory.
    Fork,
    /// clone as vfork makes it, with shared memory and the caller suspended.
    Vfork,
    /// clone3 (Linux 5.3), with shared or private memory.
    Clone3,
}

/// Whether the child may run in the parent's memory until exec.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine, Memory};
///
/// let mut true_ = Command::new("/bin/true");
/// let mut child = true_.memory(Memory::Private).spawn()?;
/// assert_ne!(child.launch().engine(), Engine::Suspended);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Memory {
    /// Shared if the options allow it, else private.
    #[default]
    Auto,
    /// Shared: the cost does not depend on the size of the parent.
    Shared,
    /// Private: no step of the child changes the parent's memory, and signal
    /// handlers run in the caller during the spawn.
    Private,
}
