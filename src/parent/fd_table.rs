//! Table: which descriptors are those of the calling thread's table, where
//! threads may have tables of their own (`unshare(CLONE_FILES)`).
//!
//! A number means nothing without its table. Where a thread uses what it has
//! made itself nothing is asked; where another thread does, or one that does
//! not know of it, the number has to be open on the file that was made.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

use super::std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::OnceLock,
    thread_local,
};
use crate::sys::fds::Inode;

/// A number that no other thread of this process has, or had.
pub(crate) fn thread_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: Cell<u64> = const { Cell::new(0) };
    }
    match OWN.get() {
        0 => {
            let own = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            OWN.set(own);
            own
        }
        own => own,
    }
}

/// Where a descriptor was made.
#[derive(Debug)]
pub(crate) struct TableOwner {
    thread: u64,
    /// What it is open on, once it has been noted.
    file: OnceLock<Option<Inode>>,
}

impl TableOwner {
    pub(crate) fn current() -> TableOwner {
        TableOwner { thread: thread_id(), file: OnceLock::new() }
    }

    /// Notes the file, so that another thread can know it: one system call.
    pub(crate) fn record_file(&self, fd: &OwnedFd) {
        self.file.get_or_init(|| Inode::of(fd));
    }

    /// As `note`, where it is known from another of its descriptors.
    pub(crate) fn record_file_of(&self, other: &TableOwner) {
        let file = other.file.get().copied().flatten();
        self.file.get_or_init(|| file);
    }

    /// Whether the calling thread has made it.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.thread == thread_id()
    }

    /// Whether this thread's table has it: one system call. What was not
    /// noted is nowhere known.
    pub(crate) fn contains(&self, fd: &OwnedFd) -> bool {
        let number = fd.as_raw_fd().unsigned_abs();
        let file = self.file.get().copied().flatten();
        file.is_some_and(|file| file.is_at(number))
    }

    /// Whether it may be closed: what was noted may be another thread's to
    /// close, anything else is closed by whoever has made it.
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
