//! `Process`: a handle of a child, for any number of threads.

use core::time::Duration;

use super::waitable::{End, Waitable, deadline_after};
use super::{ExitStatus, PidFd};
use crate::parent::error::{Error, Step};
use crate::parent::std::sync::Arc;
use crate::parent::std::time::Instant;

/// A handle of a child, from [`Child::process`]: it waits and signals from any
/// thread. Each wait, by clones and by the `Child` too, gets the status.
///
/// Dropping it does nothing.
///
/// # Examples
///
/// ```
/// let mut child = offshoot::Command::new("true").spawn()?;
/// let process = child.process();
/// let threads: Vec<_> = (0..3)
///     .map(|_| {
///         let process = process.clone();
///         std::thread::spawn(move || process.wait())
///     })
///     .collect();
/// for thread in threads {
///     assert!(thread.join().unwrap()?.success());
/// }
/// assert!(child.wait()?.success());
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Child::process`]: crate::Child::process
#[derive(Clone, Debug)]
pub struct Process {
    pub(super) handle: Arc<Waitable>,
    pub(super) group: Option<i32>,
}

impl Process {
    pub(super) fn new(handle: Arc<Waitable>, group: Option<i32>) -> Process {
        Process { handle, group }
    }

    /// A number that no other child has while this handle exists.
    pub(super) fn address(&self) -> usize {
        Arc::as_ptr(&self.handle).addr()
    }

    /// Refuses a signal to a group that is not the child's own.
    pub(super) fn check_leader(
        handle: &Waitable,
        group: Option<i32>,
    ) -> Result<(), Error> {
        match group == i32::try_from(handle.pid.get()).ok() {
            true => Ok(()),
            false => {
                let why = "the child leads no process group: see \
                           `process_group` and `setsid`";
                Err(Error::refused(Step::Kill, why))
            }
        }
    }

    /// Returns the process id, as [`Child::id`](crate::Child::id).
    #[must_use]
    pub fn id(&self) -> u32 {
        self.handle.pid.get()
    }

    /// Returns the descriptor for the process, as
    /// [`Child::pidfd`](crate::Child::pidfd).
    #[must_use]
    pub fn pidfd(&self) -> Option<&PidFd> {
        self.handle.pidfd.as_ref()
    }

    /// Waits until the child ends. The pipes of the `Child` stay open.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait(&self) -> Result<ExitStatus, Error> {
        self.handle.wait().map(End::exit_status)
    }

    /// Returns the status if the child has ended, `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.handle.try_wait()?.map(End::exit_status))
    }

    /// Waits for at most this long.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<ExitStatus>, Error> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// Waits until a moment.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Option<ExitStatus>, Error> {
        Ok(self.handle.wait_deadline(deadline)?.map(End::exit_status))
    }

    /// Sends SIGKILL, if the child has not ended.
    ///
    /// # Errors
    ///
    /// As [`Child::kill`](crate::Child::kill).
    pub fn kill(&self) -> Result<(), Error> {
        self.handle.signal(libc::SIGKILL)
    }

    /// Sends a signal, if the child has not ended.
    ///
    /// # Errors
    ///
    /// As [`Child::signal`](crate::Child::signal).
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.handle.signal(signal)
    }

    /// Sends a signal to the process group that the child leads.
    ///
    /// # Errors
    ///
    /// As [`Child::signal_group`](crate::Child::signal_group).
    pub fn signal_group(&self, signal: i32) -> Result<(), Error> {
        Process::check_leader(&self.handle, self.group)?;
        self.handle.signal_group(signal)
    }
}
