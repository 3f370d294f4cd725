//! Fork detection: whether this process or one that it was forked from made
//! something.
//!
//! A process id does not tell: a fork in another PID namespace can have the
//! same one.
#![allow(unsafe_code, reason = "a mapping is accessed by its address")]

use core::num::NonZeroU64;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::mm::{madvise, mmap_anonymous, munmap};

/// A page of any size is at least as large.
const PAGE_SIZE: usize = 4096;

/// The highest generation of this process and those that it was forked from.
static LAST_GENERATION: AtomicU64 = AtomicU64::new(0);

/// The address of a page that the kernel fills with zeros in a fork. Its first
/// word holds this process's generation.
static PAGE_ADDR: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The process that made something, if it can be identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(Option<NonZeroU64>);

impl Owner {
    pub(crate) fn this() -> Owner {
        Owner(generation())
    }

    /// Whether it is certainly this process.
    pub(crate) fn is_this(self) -> bool {
        self.0.is_some() && self == Owner::this()
    }

    /// Whether it is another process; false if neither can be identified.
    pub(crate) fn is_another(self) -> bool {
        self != Owner::this()
    }

    /// Returns it as a number for an atomic; 0 if it is unknown.
    pub(crate) fn number(self) -> u64 {
        self.0.map_or(0, NonZeroU64::get)
    }

    pub(crate) fn of(number: u64) -> Owner {
        Owner(NonZeroU64::new(number))
    }
}

/// Returns a number that differs from those of all processes that this one was
/// forked from and of all its forks; `None` before Linux 4.14, which has no
/// `MADV_WIPEONFORK`. It takes no lock, which a fork could inherit locked.
fn generation() -> Option<NonZeroU64> {
    let word = word()?;
    if word.load(Ordering::Acquire) == 0 {
        // The counter first, so a process that is forked in between has it.
        let next = LAST_GENERATION.fetch_add(1, Ordering::AcqRel) + 1;
        let (set, read) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = word.compare_exchange(0, next, set, read);
    }
    NonZeroU64::new(word.load(Ordering::Acquire))
}

/// Returns the page's first word. The page is never unmapped.
fn word() -> Option<&'static AtomicU64> {
    let at = PAGE_ADDR.load(Ordering::Acquire);
    let at = if at.is_null() { map_page()? } else { at };
    // SAFETY: an aligned word of a mapping that is never unmapped, zero at
    // first, to which all accesses are atomic.
    Some(unsafe { &*at })
}

/// Maps the page, unless another thread was first.
fn map_page() -> Option<*mut AtomicU64> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    let null = ptr::null_mut();
    // SAFETY: a new mapping, at an address that the kernel chooses, replaces
    // no other memory.
    let page =
        unsafe { mmap_anonymous(null, PAGE_SIZE, prot, MapFlags::PRIVATE) };
    let page = page.ok()?;
    // SAFETY: the advice is about the new mapping, and changes its contents
    // only in forks.
    let wiped = unsafe { madvise(page, PAGE_SIZE, Advice::LinuxWipeOnFork) };
    let (new, null) = (page.cast(), ptr::null_mut());
    let (set, read) = (Ordering::AcqRel, Ordering::Acquire);
    let first = match wiped {
        Ok(()) => PAGE_ADDR.compare_exchange(null, new, set, read),
        Err(_) => Err(null),
    };
    if let Err(first) = first {
        // SAFETY: the mapping was made above, and no other code has its
        // address.
        let _ = unsafe { munmap(page, PAGE_SIZE) };
        return (!first.is_null()).then_some(first);
    }
    Some(new)
}

/// Runs a closure in a fork, which has half a minute, and returns the fork's
/// wait status.
#[cfg(test)]
pub(crate) fn in_fork(run: impl FnOnce()) -> i32 {
    // SAFETY: libc's fork can allocate; `run` waits for no thread that the
    // fork lacks.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: has the fork killed.
        unsafe { libc::alarm(30) };
        run();
        // SAFETY: ends the fork.
        unsafe { libc::_exit(0) };
    }
    assert!(pid > 0);
    let mut status = -1;
    // SAFETY: writes one int.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}
