//! `Detached`: a running program that is not a child of this process.

use super::{Launch, PidFd};
use crate::sys::Pid;

/// A running program whose parent is not this process, as
/// [`Command::detach`] and [`Command::spawn_sibling`] start it.
///
/// It cannot be waited for, and leaves no zombie here. Its pidfd is readable
/// once it has ended, and signals sent by it never reach another process.
///
/// [`Command::detach`]: crate::Command::detach
/// [`Command::spawn_sibling`]: crate::Command::spawn_sibling
#[derive(Debug)]
pub struct Detached {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Option<PidFd>,
    pub(crate) launch: Launch,
}

impl Detached {
    /// Returns the process id. Its parent reaps it, an init as soon as it has
    /// ended, and another process can get the same id from then on: send signals by
    /// [`Detached::pidfd`].
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.get()
    }

    /// Returns a descriptor for the process; `None` before Linux 5.2, or if no
    /// descriptor was free, which is one of [`Launch::fallbacks`].
    #[must_use]
    pub fn pidfd(&self) -> Option<&PidFd> {
        self.pidfd.as_ref()
    }

    /// Returns how it was created.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }
}
