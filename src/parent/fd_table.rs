//! Descriptor tables: whether the calling thread's table has a descriptor,
//! where a thread may have its own (`unshare(CLONE_FILES)`).
//!
//! A thread that made a descriptor uses it without a check. For any other
//! thread the number must be open on the recorded file.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use super::std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    thread_local,
};
use crate::sys::fds::Inode;

/// Returns a number that no other thread of this process has or had.
pub(crate) fn thread_id() -> u64 {
    OWN.get()
}

static LAST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN: Cell<u64> =
        Cell::new(LAST.fetch_add(1, Ordering::Relaxed) + 1);
}

/// Gives this thread the number of the thread that created it, with the same
/// descriptor table, and waits for what it does.
pub(crate) fn act_for(creator: u64) {
    OWN.set(creator);
}

/// The thread that made a descriptor, and the file.
#[derive(Debug)]
pub(crate) struct TableOwner {
    thread: u64,
    file: OnceLock<Option<Inode>>,
}

impl TableOwner {
    pub(crate) fn current() -> TableOwner {
        TableOwner { thread: thread_id(), file: OnceLock::new() }
    }

    /// Records the file, by which other threads identify it: one system call.
    pub(crate) fn record_file(&self, fd: &OwnedFd) {
        self.file.get_or_init(|| Inode::of(fd));
    }

    /// As `record_file`, from another descriptor of the same file.
    pub(crate) fn record_file_of(&self, other: &TableOwner) {
        let file = other.file.get().copied().flatten();
        self.file.get_or_init(|| file);
    }

    /// Whether the calling thread made it.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.thread == thread_id()
    }

    /// Whether this thread's table has it: one system call. False if the file
    /// was not recorded.
    pub(crate) fn contains(&self, fd: &OwnedFd) -> bool {
        let number = fd.as_raw_fd().unsigned_abs();
        let file = self.file.get().copied().flatten();
        file.is_some_and(|file| file.is_at(number))
    }

    /// Whether this thread may close it: if the file was recorded, any thread
    /// whose table has it, else only the one that made it.
    pub(crate) fn may_close(&self, fd: &OwnedFd) -> bool {
        match self.file.get() {
            Some(Some(_)) => self.contains(fd),
            _ => self.is_this_thread(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::thread_id;

    #[test]
    fn a_thread_has_one_number_and_no_other_has_it() {
        extern crate std;
        let own = thread_id();
        assert_eq!(own, thread_id());
        let other = std::thread::spawn(|| [thread_id(), thread_id()]);
        let [a, b] = other.join().unwrap();
        assert_eq!(a, b);
        assert_ne!(a, own);
    }
}
