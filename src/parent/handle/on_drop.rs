//! On drop: children that are killed or reaped when their `Child` is dropped.
//!
//! A drop does not wait. A child that has not ended by then is put on a list,
//! and reaped by a later drop or spawn.
//!
//! The list's lock is held while the list changes only, not while a child is
//! looked at: a fork of a process with other threads copies it as it is. In
//! such a copy with a lock that is held, nothing is reaped, and nothing hangs.

use core::mem;

use super::Child;
use super::shared::{Handle, OnDrop};
use crate::parent::std::sync::atomic::{AtomicBool, Ordering};
use crate::parent::std::sync::{Arc, Mutex, PoisonError};
use crate::parent::std::vec;
use crate::parent::std::vec::Vec;

/// Children that were dropped before they ended.
pub(super) static DROPPED: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// Whether there are such.
pub(super) static ANY: AtomicBool = AtomicBool::new(false);

/// How many of them one call looks at, each with a system call.
const MOST: usize = 64;

/// Reaps children that were dropped and have ended since, of those that have
/// not been looked at for longest. Costs one load if there are none. Those
/// that another thread looks at meanwhile are left to it.
pub(crate) fn reap_dropped() {
    if !ANY.load(Ordering::Relaxed) {
        return;
    }
    let Ok(mut list) = DROPPED.try_lock() else { return };
    let most = list.len().min(MOST);
    let mut some: Vec<Handle> = list.drain(..most).collect();
    mem::drop(list);
    // An error: it was reaped by other code.
    some.retain(|child| matches!(child.get().try_wait(), Ok(None)));
    // Not held by a thread that is missing: this one had it above.
    put(some);
}

/// Adds to the list.
fn put(some: Vec<Handle>) {
    let mut list = DROPPED.lock().unwrap_or_else(PoisonError::into_inner);
    list.extend(some);
    ANY.store(!list.is_empty(), Ordering::Relaxed);
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
    /// program or drops such a `Child`. Each of these looks at up to 64 programs
    /// that were dropped, in turn, which takes a system call for each.
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
            put(vec![handle]);
        }
    }
}
