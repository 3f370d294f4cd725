//! `ParentDeath`: whose end ends a child.

/// Whose end sends a child its parent death signal, from
/// [`Launch::parent_death`](crate::Launch::parent_death).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParentDeath {
    /// The thread that spawned it
    /// ([`Command::parent_death_signal`](crate::Command::parent_death_signal)).
    Thread,
    /// This process
    /// ([`Command::die_with_parent`](crate::Command::die_with_parent)).
    Process,
}
