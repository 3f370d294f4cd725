//! On drop: children that are killed or reaped when their `Child` is dropped.
//!
//! A drop does not wait. A child that has not ended by then is put on a list,
//! and reaped by a later drop or spawn.
//!
//! The list's lock is held while the list changes only, not while a child is
//! looked at: a fork of a process with other threads copies it as it is. Where
//! it was held, by a thread that the fork lacks, the fork leaves its children to
//! the process that gets them at its end.
//!
//! The children on the list of a fork are those of its parent, and are
//! forgotten. So is what a `Child` was to do in the parent when it was dropped.

use core::mem;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

use super::Child;
use super::shared::{Handle, OnDrop};
use crate::parent::std::sync::atomic::{AtomicBool, Ordering};
use crate::parent::std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, TryLockError,
};
use crate::parent::std::thread::sleep;
use crate::parent::std::vec;
use crate::parent::std::vec::Vec;
use crate::sys::fork_detection::Owner;

/// Children that were dropped before they ended.
pub(super) static DROPPED: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

/// Whether there are such.
pub(super) static ANY: AtomicBool = AtomicBool::new(false);

/// The process whose children they are ([`Owner::number`]), 0 at first.
static OWNER: AtomicU64 = AtomicU64::new(0);

/// How often a fork tries to lock the list, once a millisecond.
const TRIES: u32 = 100;

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
    let owner = Owner::this().number();
    if OWNER.swap(owner, Ordering::Relaxed) != owner {
        forget(&mut list);
    }
    let most = list.len().min(MOST);
    let mut some: Vec<Handle> = list.drain(..most).collect();
    mem::drop(list);
    // An error: it was reaped by other code.
    some.retain(|child| matches!(child.get().try_wait(), Ok(None)));
    put(some);
}

/// Adds to the list.
fn put(some: Vec<Handle>) {
    let Some(mut list) = lock() else { return };
    list.extend(some);
    ANY.store(!list.is_empty(), Ordering::Relaxed);
}

/// Locks the list; `None`: a thread that this fork lacks holds the lock.
fn lock() -> Option<MutexGuard<'static, Vec<Handle>>> {
    let owner = Owner::this().number();
    let (set, read) = (Ordering::Relaxed, Ordering::Relaxed);
    let before = OWNER.compare_exchange(0, owner, set, read);
    if before.is_ok() || before == Err(owner) {
        let list = DROPPED.lock();
        return Some(list.unwrap_or_else(PoisonError::into_inner));
    }
    for _ in 0..TRIES {
        let mut list = match DROPPED.try_lock() {
            Ok(list) => list,
            Err(TryLockError::Poisoned(list)) => list.into_inner(),
            Err(TryLockError::WouldBlock) => {
                sleep(Duration::from_millis(1));
                continue;
            }
        };
        if OWNER.swap(owner, Ordering::Relaxed) != owner {
            forget(&mut list);
        }
        return Some(list);
    }
    None
}

/// Forgets the children of the parent. No descriptor is closed: another thread
/// of the parent may have opened it after the fork's table was copied and
/// before its memory was, and the fork may use the number for another file.
fn forget(list: &mut Vec<Handle>) {
    list.drain(..).for_each(mem::forget);
}

impl Child {
    /// Sets whether dropping this `Child` kills the program (SIGKILL) and has
    /// it reaped, as [`Child::reap_on_drop`] does.
    ///
    /// Only in this process: a fork of it that drops its copy of the `Child`
    /// closes descriptors and does nothing else.
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
        self.on_drop =
            if kill { OnDrop::Kill(Owner::this()) } else { OnDrop::Nothing };
        self
    }

    /// Sets whether the program is reaped after this `Child` has been dropped,
    /// so that it leaves no zombie. The drop does not wait: a program that is
    /// still running is reaped after its end, when this crate next spawns a
    /// program or drops such a `Child`. Each of these looks at up to 64 programs
    /// that were dropped, in turn, which takes a system call for each. In a
    /// fork of this process the drop does nothing of this.
    ///
    /// # Examples
    ///
    /// ```
    /// offshoot::Command::new("true").spawn()?.reap_on_drop(true);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn reap_on_drop(&mut self, reap: bool) -> &mut Child {
        self.on_drop =
            if reap { OnDrop::Reap(Owner::this()) } else { OnDrop::Nothing };
        self
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that the kernel reaps has to be reaped by nobody, and a handle
        // on the list would keep open the pidfd whose end kills it.
        let (owner, kills) = match self.on_drop {
            OnDrop::Nothing => return,
            OnDrop::Reap(_) if self.handle.get().autoreaped => return,
            OnDrop::Reap(owner) => (owner, false),
            OnDrop::Kill(owner) => (owner, true),
        };
        if owner.is_another() {
            return;
        }
        // What may hold the program up.
        mem::drop((self.stdin.take(), self.stdout.take(), self.stderr.take()));
        if kills {
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
