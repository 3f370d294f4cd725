//! `Engine`, `Method` and `Memory`: the ways of making a child, by name.

use crate::parent::std::fmt;

/// The way in which a child was made.
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
    /// The child runs in the caller's memory while the caller sleeps, until
    /// exec or death. The time it takes does not depend on how much memory
    /// the caller has.
    Suspended,
    /// As suspended, up to a first exec: of a small program in memory that
    /// holds the rest of the steps and makes them in memory of its own. For
    /// ids and whatever else must not run in the caller's memory; the time
    /// does not depend on how much of that there is. The caller's wait takes
    /// signals from that exec on.
    ///
    /// A spawn that fails after that exec raises SIGCHLD, as the child is an
    /// ordinary one then; what failed is known whoever waits for it.
    Isolated,
    /// The child runs in a copy of the caller's memory. The time it takes
    /// grows with that memory: about 40 ms a GiB. The caller's wait takes
    /// signals.
    Copied,
    /// As copied, but by a plain clone whose exec is told by the end of a
    /// pipe: for emulators that honour nothing else. A thread that forks
    /// without exec meanwhile delays it, a failed child raises SIGCHLD, and
    /// [`Launch::confirmed`] is false.
    ///
    /// [`Launch::confirmed`]: crate::Launch::confirmed
    Pipe,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Suspended => "suspended",
            Engine::Isolated => "isolated",
            Engine::Copied => "copied",
            Engine::Pipe => "pipe",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which system call makes the child. `Auto` takes whatever works, the best
/// first; the others work or say why not.
///
/// See [`clone(2)`].
///
/// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// clone3, else clone, in shared memory wherever the options allow it.
    #[default]
    Auto,
    /// clone as fork makes it: a copy of the memory.
    Fork,
    /// clone as vfork makes it: shared memory, the caller asleep.
    Vfork,
    /// clone3 (Linux 5.3), with either memory.
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
    /// Shared where the options allow it, else private.
    #[default]
    Auto,
    /// Shared: the cost does not depend on the parent's size.
    Shared,
    /// Private: nothing that the child does before exec reaches the parent,
    /// and signals reach the caller meanwhile.
    Private,
}
