//! Watch: what another thread may do while a launch goes on: read how far the
//! child is, and kill it.
//!
//! The thread that launches is suspended with its child, which may hang: a
//! program on a file system that does not answer, a group that is frozen, a
//! hook that waits for a lock. The kernel writes the child's pidfd into the
//! launch's block before the child runs, so another thread can read it there.
//!
//! It writes the number before it can still fail (no process id, a control group
//! that takes no more), and then the number is another file's soon. So it is
//! used only once the child's id is there, which the kernel writes last, or the
//! child has begun a row.
#![allow(unsafe_code, reason = "reads words that the child writes")]

use core::fmt;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::call::{Block, slot};
use crate::sys::Errno;
use crate::sys::pidfd;

/// Keeps the words of a launch for other threads.
///
/// # Safety
///
/// The implementation uses words from the call that sets them to the one that
/// sets others or none, and that call returns once no other thread uses them.
pub(crate) unsafe trait Watcher: Sync {
    fn set(&self, words: Option<Words>);

    /// Whether the child is to be killed.
    fn is_cancelled(&self) -> bool;
}

/// A launch's watcher.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) watcher: &'a dyn Watcher,
    /// The signal mask of the thread that the launch is made for.
    pub(crate) mask: u64,
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Words of a launch's memory that change while the child runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pidfd: *const AtomicU32,
    child_tid: *const AtomicU32,
    reached: [*const AtomicU32; 2],
}

// SAFETY: the words are read atomically, in whichever thread; that they exist
// is what a `Watcher` guarantees.
unsafe impl Send for Words {}

impl Words {
    /// Those of two blocks, which are one if the child writes only one.
    pub(super) fn new(
        first: *mut Block,
        last: *mut Block,
        pidfd: u8,
    ) -> Words {
        let word = |slot| {
            let at = Block::slot_address(first, slot);
            let at = usize::try_from(at).unwrap_or_default();
            ptr::with_exposed_provenance(at)
        };
        let reached = |block: *mut Block| {
            let at = block.wrapping_byte_add(offset_of!(Block, reached));
            at.cast::<AtomicU32>().cast_const()
        };
        Words {
            pidfd: word(pidfd),
            child_tid: word(slot::CHILD_TID),
            reached: [reached(first), reached(last)],
        }
    }

    /// Returns the row that the child has begun last; 0 before the first.
    pub(crate) fn reached(&self) -> u32 {
        let [first, last] = self.reached;
        load(first).max(load(last))
    }

    /// Kills the child. False: there is none yet.
    pub(crate) fn kill(&self) -> Result<bool, Errno> {
        // In this order: what is there stays until the launch ends.
        if load(self.child_tid) == 0 && self.reached() == 0 {
            return Ok(false);
        }
        match i32::try_from(load(self.pidfd)) {
            Ok(pidfd) => match pidfd::signal(pidfd, libc::SIGKILL) {
                // It has ended; the launch has not noticed yet.
                Err(Errno(libc::ESRCH)) => Ok(true),
                // Another processor does not see the descriptor yet.
                Err(Errno(libc::EBADF)) => Ok(false),
                sent => sent.map(|()| true),
            },
            // -1: there is no pidfd.
            Err(_) => Ok(false),
        }
    }
}

fn load(word: *const AtomicU32) -> u32 {
    // SAFETY: an aligned word of a block, which exists as long as `Words` may
    // be used (the contract of `Watcher`); the child and the kernel write it
    // with one store.
    unsafe { &*word }.load(Ordering::Acquire)
}

/// As long as this exists, the watcher has the words.
pub(super) struct Watched<'a>(Option<Watch<'a>>);

impl<'a> Watched<'a> {
    /// The blocks outlive the guard, and are not borrowed mutably meanwhile.
    pub(super) fn new(watch: Option<Watch<'a>>, words: Words) -> Watched<'a> {
        if let Some(watch) = watch {
            watch.watcher.set(Some(words));
        }
        Watched(watch)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(watch) = self.0 {
            watch.watcher.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::Words;
    use crate::call::{Block, slot};
    use crate::sys::{Pid, bits, pidfd};

    /// The kernel writes the number and may fail after that.
    #[test]
    fn a_pidfd_is_used_once_the_child_exists() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::new(child.id().into()).unwrap();
        let pidfd = pidfd::open(pid).unwrap_or(-1);
        for (n, value) in [(slot::CHILD_TID, 7), (slot::PIDFD, 0)] {
            let mut block = Block::new();
            block.set(slot::PIDFD, bits(pidfd.into()));
            let at = &raw mut block;
            let words = Words::new(at, at, slot::PIDFD);
            assert_eq!(words.kill(), Ok(false));
            assert_eq!(child.try_wait().unwrap(), None);
            match n {
                slot::CHILD_TID => block.set(n, value),
                _ => block.reached = 1,
            }
            // Before Linux 5.3 there is no pidfd.
            assert_eq!(words.kill(), Ok(pidfd >= 0));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        let mut block = Block::new();
        block.set(slot::PIDFD, bits(-1));
        block.set(slot::CHILD_TID, 7);
        let at = &raw mut block;
        assert_eq!(Words::new(at, at, slot::PIDFD).kill(), Ok(false));
    }
}
