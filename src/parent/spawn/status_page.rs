//! `StatusPage`: the memory that a helper and its parent share. One launch
//! at a time uses a page.

use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate};
use rustix::io::Errno;

use super::source_fds::SourceFds;
use crate::call::{Block, slot};
use crate::launch::shared_block::{PAGE_SIZE, SharedBlock};
use crate::parent::error::{Error, Step};
use crate::parent::reserve::{ReservedFd, checked_top_fd, dup_above};
use crate::parent::sealed_memfd::{check_file_size, memfd};
use crate::parent::std::{
    hash::{BuildHasher, RandomState},
    os::fd::{AsRawFd, RawFd},
    sync::{Mutex, MutexGuard},
};
use crate::parent::support::known_missing;
use crate::sys::abi::ADDR_NO_RANDOMIZE;
use crate::sys::call::{is_filtered, personality};
use crate::sys::fork_detection::Owner;

/// A page that is mapped here, and the file that a helper maps.
#[derive(Debug)]
pub(super) struct StatusPage {
    fd: ReservedFd,
    pub(super) shared: SharedBlock,
    /// A probe descriptor above the page and the helper image of its first
    /// launch. Made for the second launch, whose own descriptors may have
    /// lower numbers.
    probe_fd: Option<ReservedFd>,
    /// Whether it was in the cache, so that this thread's descriptor table
    /// has it.
    from_cache: bool,
    /// The process that created it.
    owner: Owner,
}

/// The page that this process caches. Locked with `try_lock` only.
static CACHE: Mutex<Option<StatusPage>> = Mutex::new(None);

impl StatusPage {
    pub(super) fn new(source_fds: &SourceFds) -> Result<StatusPage, Error> {
        let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
        check_file_size(PAGE_SIZE as u64).map_err(fail)?;
        let file = memfd(MemfdFlags::NOEXEC_SEAL).map_err(fail)?;
        // Allocates the memory too: without it the first write to the page
        // would raise SIGBUS.
        let flags = FallocateFlags::empty();
        fallocate(&file, flags, 0, PAGE_SIZE as u64).map_err(fail)?;
        let fd = source_fds.move_off_helper_targets(file).map_err(fail)?;
        let file = fd.fd().ok_or_else(|| fail(Errno::BADF))?;
        let shared = SharedBlock::map_file(file);
        let shared = shared.map_err(|e| Error::os(Step::Image, e.0))?;
        let (probe_fd, from_cache, owner) = (None, false, Owner::this());
        Ok(StatusPage { fd, shared, probe_fd, from_cache, owner })
    }

    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// Takes a page that fits; a fork also takes its parent's, and drops it.
    pub(super) fn take(
        slot: &mut Option<StatusPage>,
        fits: impl FnOnce(&StatusPage) -> bool,
    ) -> Option<StatusPage> {
        let page = slot.take_if(|page| !page.owner.is_this() || fits(page));
        page.filter(|page| page.owner.is_this())
    }

    /// Whether this thread's descriptor table has its descriptors, as
    /// [`ReservedFd::is_usable`].
    pub(super) fn is_usable(&self, strict: bool) -> bool {
        self.fd.is_usable(strict)
            && self.probe_fd.as_ref().is_none_or(|fd| fd.is_usable(strict))
    }

    /// Records its file, so that other threads can use it.
    pub(super) fn record_file(&self) {
        self.fd.record_file();
        if let Some(probe_fd) = &self.probe_fd {
            probe_fd.record_file_of(&self.fd);
        }
    }

    /// Takes the cached page, if no step of this plan writes over its number
    /// and this thread's descriptor table has it.
    pub(super) fn from_cache(source_fds: &SourceFds) -> Option<StatusPage> {
        let mut cache = CACHE.try_lock().ok()?;
        let mut page = StatusPage::take(&mut cache, |page| {
            let free = !source_fds.is_helper_target(page.number());
            free && page.is_usable(true)
        })?;
        page.from_cache = true;
        Some(page)
    }

    /// Returns its probe descriptor, if that is at `source_end` or above.
    pub(super) fn probe_fd(&self, source_end: i32) -> Option<RawFd> {
        let own = self.probe_fd.as_ref().and_then(ReservedFd::fd);
        own.map(|fd| fd.as_raw_fd()).filter(|fd| *fd >= source_end)
    }

    /// Whether an earlier launch used it.
    pub(super) fn is_reused(&self) -> bool {
        self.probe_fd.is_some()
    }

    /// Makes its probe descriptor for another launch. Without a free
    /// descriptor for that the page is dropped.
    pub(super) fn for_reuse(mut self, source_end: i32) -> Option<StatusPage> {
        if self.probe_fd.is_none() {
            self.probe_fd =
                Some(dup_above(self.fd.fd()?, source_end).ok()?.into());
        }
        Some(self)
    }

    /// Moves it into the cache, if that is empty and this process has
    /// reserved descriptors; else returns it.
    pub(super) fn into_cache(self) -> Option<StatusPage> {
        let cacheable = || self.from_cache || checked_top_fd().is_some();
        match CACHE.try_lock() {
            Ok(mut cache) if cache.is_none() && cacheable() => {
                self.record_file();
                *cache = Some(self);
                None
            }
            _ => Some(self),
        }
    }
}

/// In a fork no descriptor is closed: another thread of the parent may have
/// opened it after the fork's table was copied and before its memory was, and
/// the fork may use the number for another file.
impl Drop for StatusPage {
    fn drop(&mut self) {
        if self.owner.is_another() {
            self.fd.forget();
            self.probe_fd.iter_mut().for_each(ReservedFd::forget);
        }
    }
}

/// Closes the cached page, where descriptors run out.
pub(super) fn drop_cache() {
    if let Ok(mut cache) = CACHE.try_lock() {
        cache.take_if(|page| page.is_usable(true));
    }
}

/// Other threads do not use the cache while this lives.
pub(super) type CacheLock = Option<MutexGuard<'static, Option<StatusPage>>>;

pub(super) fn lock_cache() -> CacheLock {
    CACHE.try_lock().ok()
}

/// Sets the slots that only a helper reads: a process name that no program
/// has; the capabilities of this thread; whether it makes calls that a
/// filter may kill it for; whether it execs in a second thread; and its
/// personality, which stays as it is under a seccomp filter, as that may kill
/// a process for a call that it does not list.
pub(super) fn init_block(
    block: &mut Block,
    capabilities: [u64; 3],
    exec_in_thread: bool,
    mrelease: bool,
) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let n = RandomState::new().hash_one(n);
    // Fifteen letters of sixteen kinds, and a NUL.
    let letters = |from: u32, count: u32| {
        (0..count).fold(0u64, |word, index| {
            let kind = (n >> (4 * (from + index))) & 15;
            word | (u64::from(b'a') + kind) << (8 * index)
        })
    };
    block.set(slot::COMM, letters(0, 8));
    block.set(slot::COMM + 1, letters(8, 7));
    let personality = (!is_filtered()).then(personality).flatten();
    if let Some(own) = personality {
        block
            .set(slot::HELPER_PERSONALITY, u64::from(own | ADDR_NO_RANDOMIZE));
        block.set(slot::PERSONALITY, own.into());
    }
    let without = known_missing().mrelease || !mrelease;
    block.set(slot::MRELEASE, without.into());
    block.set(slot::EXEC_IN_THREAD, exec_in_thread.into());
    for (n, word) in (slot::CAPS..).zip(capabilities) {
        block.set(n, word);
    }
}
