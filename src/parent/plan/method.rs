//! Engines: the ways of making a child, and what each is called.

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
    /// The child runs in a copy of the caller's memory. The time it takes
    /// grows with that memory: about 40 ms a GiB.
    Copied,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Engine::Suspended => "suspended",
            Engine::Copied => "copied",
        })
    }
}
