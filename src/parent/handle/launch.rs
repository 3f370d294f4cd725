//! `Launch`: what was used to make a child.

use crate::parent::plan::method::Engine;
use crate::sys::CloneFlags;

/// How a child was made, as [`Child::launch`] tells.
///
/// # Examples
///
/// ```
/// use offshoot::{CloneFlags, Command};
///
/// let mut child = Command::new("/bin/true").spawn()?;
/// let launch = child.launch();
/// assert_eq!(launch.call(), "clone3");
/// assert!(launch.flags().contains(CloneFlags::VM | CloneFlags::VFORK));
/// assert_eq!(launch.busy_retries(), 0);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Child::launch`]: crate::Child::launch
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    pub(crate) engine: Engine,
    pub(crate) flags: CloneFlags,
    pub(crate) busy: u32,
    pub(crate) canary: bool,
}

impl Launch {
    /// The engine that made the child.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The system call that made the child.
    #[must_use]
    pub fn call(&self) -> &'static str {
        "clone3"
    }

    /// The flags it was given.
    #[must_use]
    pub fn flags(&self) -> CloneFlags {
        self.flags
    }

    /// How often exec found the program still open for writing (`ETXTBSY`)
    /// and the spawn was begun anew. Another thread's child may hold a copy
    /// of a descriptor, closed here already, until it execs.
    #[must_use]
    pub fn busy_retries(&self) -> u32 {
        self.busy
    }

    /// Whether a descriptor was made for the proof that the child's table is
    /// its own. Else the child's pidfd served.
    #[must_use]
    pub fn made_canary(&self) -> bool {
        self.canary
    }
}
