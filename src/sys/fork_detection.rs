//! Forks: which process this is, among those that share what it had mapped.
//!
//! A process id does not say: two processes of two PID namespaces can have
//! the same one, and the second be a fork of the first.
#![allow(unsafe_code, reason = "a mapping is reached by its address")]

use core::num::NonZeroU64;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use rustix::mm::{madvise, mmap_anonymous, munmap};

/// One page of any size is at least as long.
const PAGE: usize = 4096;

/// The highest generation that this process or one above it was.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// Where a page lies that a fork finds filled with zeros.
static MARK: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// A process, as far as it can be known which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(Option<NonZeroU64>);

impl Owner {
    pub(crate) fn this() -> Owner {
        Owner(generation())
    }

    /// Whether it is surely this process.
    pub(crate) fn is_this(self) -> bool {
        self.0.is_some() && self == Owner::this()
    }

    /// Whether it is surely another one.
    pub(crate) fn is_another(self) -> bool {
        self != Owner::this()
    }

    /// As it stands in an atomic; 0 if it is not known.
    pub(crate) fn number(self) -> u64 {
        self.0.map_or(0, NonZeroU64::get)
    }

    pub(crate) fn of(number: u64) -> Owner {
        Owner(NonZeroU64::new(number))
    }
}

/// A number that no process has from which this one was forked, and no fork
/// of this one; `None` before Linux 4.14 (`MADV_WIPEONFORK`). It takes no
/// lock that a fork could find locked for ever.
fn generation() -> Option<NonZeroU64> {
    let mark = mark()?;
    if mark.load(Ordering::Acquire) == 0 {
        // First seen, then taken: whoever is forked in between sees it too.
        let next = SEEN.fetch_add(1, Ordering::AcqRel) + 1;
        let (taken, seen) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = mark.compare_exchange(0, next, taken, seen);
    }
    NonZeroU64::new(mark.load(Ordering::Acquire))
}

/// The page's first word. It is never unmapped.
fn mark() -> Option<&'static AtomicU64> {
    let at = MARK.load(Ordering::Acquire);
    let at = if at.is_null() { wiped()? } else { at };
    // SAFETY: an aligned word of a mapping that is never unmapped, zeros at
    // first, and only ever reached as an atomic.
    Some(unsafe { &*at })
}

/// Maps the page, unless another thread was first.
fn wiped() -> Option<*mut AtomicU64> {
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    let null = ptr::null_mut();
    // SAFETY: a fresh mapping, at an address of the kernel's choice, takes
    // nobody's memory.
    let page = unsafe { mmap_anonymous(null, PAGE, prot, MapFlags::PRIVATE) };
    let page = page.ok()?;
    // SAFETY: the advice is about the mapping just made, and drops nothing
    // from this process.
    let wiped = unsafe { madvise(page, PAGE, Advice::LinuxWipeOnFork) };
    let (own, null) = (page.cast(), ptr::null_mut());
    let (taken, seen) = (Ordering::AcqRel, Ordering::Acquire);
    let first = match wiped {
        Ok(()) => MARK.compare_exchange(null, own, taken, seen),
        Err(_) => Err(null),
    };
    if let Err(first) = first {
        // SAFETY: the mapping was made above, and nobody was told of it.
        let _ = unsafe { munmap(page, PAGE) };
        return (!first.is_null()).then_some(first);
    }
    Some(own)
}
