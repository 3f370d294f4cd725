//! Parentage: whose child the program is.

use crate::parent::std::fmt;

/// Whose child the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parentage {
    /// This process's.
    Child,
    /// The init's or a subreaper's: a process in between makes it and exits.
    Detached,
}

/// A line of the plan, none for a child of this process.
impl fmt::Display for Parentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parentage::Child => Ok(()),
            Parentage::Detached => writeln!(
                f,
                "parent  a process in between, by clone(FILES), which exits"
            ),
        }
    }
}
