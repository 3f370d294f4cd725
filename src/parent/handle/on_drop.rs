//! On drop: children that are killed or reaped when their `Child` is dropped.
//!
//! A drop does not wait. A child that has not ended by then is put on a list,
//! and reaped by a later drop or spawn.

use core::mem;

use super::Child;
use super::shared::{Handle, OnDrop};
use crate::parent::std::sync::atomic::{AtomicBool, Ordering};
use crate::parent::std::sync::{Arc, Mutex, PoisonError};
use crate::parent::std::vec::Vec;

/// Children that were dropped before they ended.
static DROPPED: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// Whether there are such.
static ANY: AtomicBool = AtomicBool::new(false);

/// Reaps children that were dropped and have ended since. Costs one load if
/// there are none.
pub(crate) fn reap_dropped() {
    if !ANY.load(Ordering::Relaxed) {
        return;
    }
    let mut dropped = DROPPED.lock().unwrap_or_else(PoisonError::into_inner);
    // An error: it was reaped by other code.
    dropped.retain(|child| matches!(child.get().try_wait(), Ok(None)));
    ANY.store(!dropped.is_empty(), Ordering::Relaxed);
}

impl Child {
    /// Sets whether dropping this `Child` kills the program (SIGKILL) and has
    /// it reaped, as [`Child::reap_on_drop`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::metadata;
    ///
    /// let mut child = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// let directory = format!("/proc/{}", child.id());
    /// drop(child.kill_on_drop(true));
    /// drop(child);
    /// while metadata(&directory).is_ok() {
    ///     // Reaped by a later spawn.
    ///     offshoot::Command::new("true").status()?;
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Child {
        self.on_drop = if kill { OnDrop::Kill } else { OnDrop::Nothing };
        self
    }

    /// Sets whether the program is reaped after this `Child` has been dropped,
    /// so that it leaves no zombie. The drop does not wait: a program that is
    /// still running is reaped after its end, when this crate next spawns a
    /// program or drops such a `Child`.
    ///
    /// # Examples
    ///
    /// ```
    /// offshoot::Command::new("true").spawn()?.reap_on_drop(true);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn reap_on_drop(&mut self, reap: bool) -> &mut Child {
        self.on_drop = if reap { OnDrop::Reap } else { OnDrop::Nothing };
        self
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that the kernel reaps has to be reaped by nobody, and a handle
        // on the list would keep open the pidfd whose end kills it.
        let reaps = self.on_drop == OnDrop::Reap;
        if self.on_drop == OnDrop::Nothing
            || (reaps && self.handle.get().autoreaped)
        {
            return;
        }
        // What may hold the program up.
        mem::drop((self.stdin.take(), self.stdout.take(), self.stderr.take()));
        if self.on_drop == OnDrop::Kill {
            let _ = self.kill();
        }
        reap_dropped();
        if let Ok(None) = self.handle.get().try_wait() {
            let handle = match &mut self.handle {
                Handle::Own(own) => Handle::Own(own.take()),
                Handle::Shared(shared) => Handle::Shared(Arc::clone(shared)),
            };
            let list = DROPPED.lock();
            list.unwrap_or_else(PoisonError::into_inner).push(handle);
            ANY.store(true, Ordering::Relaxed);
        }
    }
}
