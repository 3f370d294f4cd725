//! Page: the memory that an image and its parent share, and the image's own
//! file. One page belongs to one launch at a time, an image to any number.

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate};
use rustix::io::Errno;

use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use super::source_fds::SourceFds;
use crate::call::{Block, Call, slot};
use crate::launch::shared_block::{PAGE_SIZE, SharedBlock};
use crate::launch::{self, helper_code};
use crate::parent::error::{Error, Step};
use crate::parent::plan::helper_layout::{HelperContents, HelperLayout};
use crate::parent::reserve::{ReservedFd, above, dup_above, here};
use crate::parent::sealed_memfd::{memory_file, room, sealed};
use crate::parent::std::{
    hash::{BuildHasher, RandomState},
    io::Write,
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex, MutexGuard},
    vec::Vec,
};
use crate::parent::support::refused;
use crate::sys::abi::ADDR_NO_RANDOMIZE;
use crate::sys::call::{is_filtered, personality};
use crate::sys::fork_detection::Owner;

/// A page, mapped here, with the file by which a child maps it.
#[derive(Debug)]
pub(super) struct StatusPage {
    fd: ReservedFd,
    pub(super) shared: SharedBlock,
    /// Above it and the image it was first used with, from its second use
    /// on: what is made for a launch may have a lower number by then.
    probe_fd: Option<ReservedFd>,
    /// Whether this process has kept it, and this thread's table has it.
    kept: bool,
    /// The process that made it, where that can be known for sure.
    owner: Owner,
}

impl StatusPage {
    pub(super) fn new(source_fds: &SourceFds) -> Result<StatusPage, Error> {
        let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
        room(PAGE_SIZE as u64).map_err(fail)?;
        // Nobody may execute it.
        let file = memory_file(MemfdFlags::NOEXEC_SEAL).map_err(fail)?;
        // Its memory too: where there is none, it is an error here, and a
        // SIGBUS where the page is first written to.
        let flags = FallocateFlags::empty();
        fallocate(&file, flags, 0, PAGE_SIZE as u64).map_err(fail)?;
        let fd = source_fds.move_off_helper_targets(file).map_err(fail)?;
        let file = fd.fd().ok_or_else(|| fail(Errno::BADF))?;
        let shared = SharedBlock::map_file(file);
        let shared = shared.map_err(|e| Error::os(Step::Image, e.0))?;
        Ok(StatusPage {
            fd,
            shared,
            probe_fd: None,
            kept: false,
            owner: Owner::this(),
        })
    }

    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// Whether no other process launches with it.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_this()
    }

    /// Whether this thread's table has its descriptors; `strict` if that is
    /// so of those too that this thread has made.
    pub(super) fn is_here(&self, strict: bool) -> bool {
        is_here(&self.fd, strict)
            && self.probe_fd.as_ref().is_none_or(|low| is_here(low, strict))
    }

    /// Lets other threads have it.
    pub(super) fn note(&self) {
        self.fd.note();
        if let Some(probe_fd) = &self.probe_fd {
            probe_fd.note_as(&self.fd);
        }
    }

    /// The page that this process keeps, if no launch uses it, no step of
    /// this plan writes over its number, and this thread's table has it.
    pub(super) fn kept(source_fds: &SourceFds) -> Option<StatusPage> {
        let fits = |page: &mut StatusPage| {
            let free = !source_fds.is_helper_target(page.number());
            !page.is_own() || (free && page.is_here(true))
        };
        let page = KEPT.try_lock().ok()?.take_if(fits);
        let mut page = page.filter(StatusPage::is_own)?;
        page.kept = true;
        Some(page)
    }

    /// A descriptor at `cut` or above; `None` before the first use too.
    pub(super) fn probe_fd(&self, source_end: i32) -> Option<RawFd> {
        let own = self.probe_fd.as_ref().and_then(ReservedFd::fd);
        own.map(|fd| fd.as_raw_fd()).filter(|fd| *fd >= source_end)
    }

    /// Whether it was there before this launch.
    pub(super) fn is_used(&self) -> bool {
        self.probe_fd.is_some()
    }

    /// Makes it fit for another launch. Where no descriptor is left for that
    /// it is used once.
    pub(super) fn again(mut self, source_end: i32) -> Option<StatusPage> {
        if self.probe_fd.is_none() {
            self.probe_fd =
                Some(dup_above(self.fd.fd()?, source_end).ok()?.into());
        }
        Some(self)
    }

    /// Keeps it, where this process has asked for descriptors to be kept and
    /// has no page yet; else gives it back.
    pub(super) fn keep(self) -> Option<StatusPage> {
        let here = || self.kept || here().is_some();
        match KEPT.try_lock() {
            Ok(mut kept) if kept.is_none() && here() => {
                self.note();
                *kept = Some(self);
                None
            }
            _ => Some(self),
        }
    }
}

impl Prepared {
    /// A page for a launch that needs one, and the image's number: the page
    /// of an earlier launch, or one of its own.
    pub(super) fn page(
        &self,
        compiled: &CompiledPlan,
    ) -> Result<Option<(StatusPage, u32)>, Error> {
        let Some(image) = &compiled.image else { return Ok(None) };
        let strict = self.is_foreign();
        if self.lasts && !image.is_here(strict) {
            let why = "this thread has a table of descriptors of its own";
            return Err(Error::explained(Step::Image, libc::EBADF, why));
        }
        // Nobody waits for another thread's page: one more can be made.
        let fits =
            |page: &mut StatusPage| !page.is_own() || page.is_here(strict);
        let mut idle = self.page.try_lock().ok();
        let page = idle.as_mut().and_then(|idle| idle.take_if(fits));
        drop(idle);
        let page = page.filter(StatusPage::is_own);
        let page = page.or_else(|| StatusPage::kept(&self.source_fds));
        let page =
            page.map_or_else(|| StatusPage::new(&self.source_fds), Ok)?;
        Ok(Some((page, image.number())))
    }

    /// Keeps a page for the next launch, unless this one's child may still
    /// write to it.
    pub(super) fn give_back(
        &self,
        page: Option<StatusPage>,
        source_end: i32,
        made: launch::Outcome,
    ) {
        let used =
            matches!(made, launch::Outcome::Running { confirmed: false, .. });
        let page =
            page.filter(|_| !used).and_then(|page| page.again(source_end));
        let page = page.and_then(StatusPage::keep);
        if let (true, Ok(mut idle)) = (page.is_some(), self.page.try_lock()) {
            if self.lasts {
                page.iter().for_each(StatusPage::note);
            }
            *idle = page;
        }
    }

    /// Closes what images are made of and this launch can do without.
    pub(super) fn release_cached(&self) {
        if let Ok(mut idle) = self.page.try_lock() {
            idle.take_if(|page| page.is_here(true));
        }
        drop_cache();
    }
}

/// In a fork nothing is closed: another thread may have made it after the
/// fork's table was copied and before its memory was, and whatever has its
/// number is not ours.
impl Drop for StatusPage {
    fn drop(&mut self) {
        if self.owner.is_another() {
            self.fd.leave();
            self.probe_fd.iter_mut().for_each(ReservedFd::leave);
        }
    }
}

/// Closes what this process keeps for the next launch, where descriptors run
/// out.
pub(super) fn drop_cache() {
    if let Ok(mut kept) = KEPT.try_lock() {
        kept.take_if(|page| page.is_here(true));
    }
    if let Ok(mut last) = LAST.try_lock() {
        last.image.take_if(|image| image.is_here(true));
    }
}

/// Asks nothing of what this thread has made, unless `strict`.
fn is_here(low: &ReservedFd, strict: bool) -> bool {
    (!strict && low.is_own()) || low.is_here()
}

/// Nobody else uses what is kept while this lives: others make their own.
pub(super) struct Lock {
    _page: Option<MutexGuard<'static, Option<StatusPage>>>,
    _last: Option<MutexGuard<'static, Last>>,
}

pub(super) fn lock_caches() -> Lock {
    Lock { _page: KEPT.try_lock().ok(), _last: LAST.try_lock().ok() }
}

/// The page that this process keeps. Nobody waits for it.
static KEPT: Mutex<Option<StatusPage>> = Mutex::new(None);

/// An image's file, sealed, and what it was made of, if it is to be kept.
pub(super) struct HelperImage {
    fd: ReservedFd,
    made: Option<HelperContents>,
    owner: Owner,
}

/// What this process keeps for the next image, where it has asked for
/// descriptors to be kept.
struct Last {
    image: Option<Arc<HelperImage>>,
    /// Memory to write it and its rows into: taking as much anew makes glibc
    /// look through all that was freed.
    bytes: Vec<u8>,
    rows: Vec<Call>,
}

/// Nobody waits for it.
static LAST: Mutex<Last> =
    Mutex::new(Last { image: None, bytes: Vec::new(), rows: Vec::new() });

/// Memory for rows, empty.
pub(super) fn spare_rows() -> Vec<Call> {
    let spare = LAST.try_lock().map(|mut last| mem::take(&mut last.rows));
    spare.unwrap_or_default()
}

/// Gives memory of rows that nobody needs any more back to the next launch.
pub(super) fn keep_rows(mut rows: Vec<Call>) {
    if let (true, Ok(mut last)) = (above().is_some(), LAST.try_lock()) {
        rows.clear();
        last.rows = rows;
    }
}

/// As for a page.
impl Drop for HelperImage {
    fn drop(&mut self) {
        if self.owner.is_another() {
            self.fd.leave();
        }
    }
}

impl HelperImage {
    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// As for a page.
    pub(super) fn is_here(&self, strict: bool) -> bool {
        is_here(&self.fd, strict)
    }

    pub(super) fn note(&self) {
        self.fd.note();
    }

    /// The file that is made of these parts: the last one, if that was; a
    /// fork may have closed it.
    pub(super) fn of(
        parts: &HelperLayout<'_>,
        first: u16,
        source_fds: &SourceFds,
    ) -> Result<Arc<HelperImage>, Error> {
        let serves = |last: &&Arc<HelperImage>| {
            let same = last.made.as_ref().is_some_and(|made| parts.are(made));
            last.owner.is_this()
                && same
                && !source_fds.is_helper_target(last.number())
        };
        let mut bytes = Vec::new();
        let mut keeps = true;
        if let Ok(mut last) = LAST.try_lock() {
            // One of another table stays, and this one is not kept.
            let apart = last.image.as_ref().is_some_and(|last| {
                last.owner.is_this() && !last.is_here(true)
            });
            keeps &= !apart;
            if let Some(same) = last.image.as_ref().filter(serves) {
                if !apart {
                    return Ok(Arc::clone(same));
                }
            }
            if !apart {
                // Its number is the next one's.
                last.image = None;
            }
            bytes = mem::take(&mut last.bytes);
        }
        parts.write(first, helper_code(), &mut bytes)?;
        let fd = file(&bytes, source_fds)?;
        let keeps = keeps && here().is_some();
        let made = keeps.then(|| parts.to_contents());
        let owner = Owner::this();
        let image = Arc::new(HelperImage { fd, made, owner });
        if let (true, Ok(mut last)) = (keeps, LAST.try_lock()) {
            image.note();
            last.image = Some(Arc::clone(&image));
            last.bytes = bytes;
        }
        Ok(image)
    }
}

/// A sealed file.
fn file(bytes: &[u8], source_fds: &SourceFds) -> Result<ReservedFd, Error> {
    let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
    room(bytes.len() as u64).map_err(fail)?;
    let file = sealed(|file| file.write_all(bytes));
    let file = file.map_err(|e| Error::io(Step::Image, &e))?;
    source_fds.move_off_helper_targets(file).map_err(fail)
}

/// What an image is told through its block: a name that no program has, what
/// this thread may do, whether it is to make a call that a filter may answer
/// with a kill, and its personality. That stays as it is where there
/// is a seccomp filter, which may kill whoever makes a call that it does not
/// know.
pub(super) fn init_block(block: &mut Block, rights: [u64; 3], apart: bool) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let n = RandomState::new().hash_one(n);
    // Fifteen letters of sixteen kinds, and a NUL: a word of eight, one of
    // seven.
    let letters = |from: u32, count: u32| {
        (0..count).fold(0u64, |word, place| {
            let kind = (n >> (4 * (from + place))) & 15;
            word | (u64::from(b'a') + kind) << (8 * place)
        })
    };
    block.set(slot::COMM, letters(0, 8));
    block.set(slot::COMM + 1, letters(8, 7));
    let free = !is_filtered();
    if let Some(own) = free.then(personality).flatten() {
        block
            .set(slot::HELPER_PERSONALITY, u64::from(own | ADDR_NO_RANDOMIZE));
        block.set(slot::PERSONALITY, own.into());
    }
    block.set(slot::MRELEASE, refused().mrelease.into());
    block.set(slot::EXEC_IN_THREAD, apart.into());
    for (n, word) in (slot::CAPS..).zip(rights) {
        block.set(n, word);
    }
}
