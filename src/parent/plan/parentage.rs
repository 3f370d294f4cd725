//! Parentage: whose child the program is.

use crate::parent::std::fmt;
use crate::sys::CloneFlags;

/// Whose child the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parentage {
    /// This process's.
    Child,
    /// The init's or a subreaper's: a process in between makes it and exits.
    Detached,
    /// That of this process's parent.
    Sibling,
}

impl Parentage {
    /// The flags of the clone call that it takes.
    pub(crate) fn flags(self) -> CloneFlags {
        match self {
            Parentage::Child | Parentage::Detached => CloneFlags::empty(),
            Parentage::Sibling => CloneFlags::PARENT,
        }
    }
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
            Parentage::Sibling => {
                writeln!(f, "parent  the parent of this process")
            }
        }
    }
}
