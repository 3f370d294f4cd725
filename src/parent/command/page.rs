//! Page: the memory that an image and its parent share, and the image's own
//! file. One page belongs to one launch at a time, an image to any number.

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate};
use rustix::io::Errno;

use super::held::Held;
use crate::call::{Block, Call, slot};
use crate::launch::image_code;
use crate::launch::shared::{PAGE, Shared};
use crate::parent::error::{Error, Step};
use crate::parent::image::{memory_file, room, sealed};
use crate::parent::kernel::refused;
use crate::parent::plan::image::{Made, Parts};
use crate::parent::reserve::{Low, above, lift};
use crate::parent::std::{
    hash::{BuildHasher, RandomState},
    io::Write,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, MutexGuard},
    vec::Vec,
};
use crate::sys::abi::ADDR_NO_RANDOMIZE;
use crate::sys::call::{is_filtered, personality};
use crate::sys::forks::Owner;

/// A page, mapped here, with the file by which a child maps it.
#[derive(Debug)]
pub(super) struct Page {
    fd: Low,
    pub(super) shared: Shared,
    /// Above it and the image it was first used with, from its second use
    /// on: what is made for a launch may have a lower number by then.
    canary: Option<OwnedFd>,
    /// The process that made it, where that can be known for sure.
    owner: Owner,
}

impl Page {
    pub(super) fn new(held: &Held) -> Result<Page, Error> {
        let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
        room(PAGE as u64).map_err(fail)?;
        // Nobody may execute it.
        let file = memory_file(MemfdFlags::NOEXEC_SEAL).map_err(fail)?;
        // Its memory too: where there is none, it is an error here, and a
        // SIGBUS where the page is first written to.
        let flags = FallocateFlags::empty();
        fallocate(&file, flags, 0, PAGE as u64).map_err(fail)?;
        let fd = held.settle_lent(file).map_err(fail)?;
        let file = fd.fd().ok_or_else(|| fail(Errno::BADF))?;
        let shared = Shared::over(file);
        let shared = shared.map_err(|e| Error::os(Step::Image, e.0))?;
        Ok(Page { fd, shared, canary: None, owner: Owner::this() })
    }

    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// Whether no other process launches with it.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_this()
    }

    /// The page that this process keeps, if no launch uses it and no step of
    /// this plan writes over its number.
    pub(super) fn kept(held: &Held) -> Option<Page> {
        let fits = |page: &mut Page| {
            !page.is_own() || !held.takes_lent(page.number())
        };
        let page = KEPT.try_lock().ok()?.take_if(fits);
        page.filter(Page::is_own)
    }

    /// A descriptor at `cut` or above; `None` before the first use too.
    pub(super) fn canary(&self, cut: i32) -> Option<RawFd> {
        let own = self.canary.as_ref().map(AsRawFd::as_raw_fd);
        own.filter(|fd| *fd >= cut)
    }

    /// Whether it was there before this launch.
    pub(super) fn is_used(&self) -> bool {
        self.canary.is_some()
    }

    /// Makes it fit for another launch. Where no descriptor is left for that
    /// it is used once.
    pub(super) fn again(mut self, cut: i32) -> Option<Page> {
        if self.canary.is_none() {
            self.canary = Some(lift(self.fd.fd()?, cut).ok()?);
        }
        Some(self)
    }

    /// Keeps it, where this process has asked for descriptors to be kept and
    /// has no page yet; else gives it back.
    pub(super) fn keep(self) -> Option<Page> {
        match KEPT.try_lock() {
            Ok(mut kept) if above().is_some() && kept.is_none() => {
                *kept = Some(self);
                None
            }
            _ => Some(self),
        }
    }
}

/// In a fork nothing is closed: another thread may have made it after the
/// fork's table was copied and before its memory was, and whatever has its
/// number is not ours.
impl Drop for Page {
    fn drop(&mut self) {
        if self.owner.is_another() {
            mem::forget(mem::take(&mut self.fd));
            mem::forget(self.canary.take());
        }
    }
}

/// Closes what this process keeps for the next launch, where descriptors run
/// out.
pub(super) fn forget() {
    if let Ok(mut kept) = KEPT.try_lock() {
        *kept = None;
    }
    if let Ok(mut last) = LAST.try_lock() {
        last.image = None;
    }
}

/// Nobody else uses what is kept while this lives: others make their own.
pub(super) struct Hold {
    _page: Option<MutexGuard<'static, Option<Page>>>,
    _last: Option<MutexGuard<'static, Last>>,
}

pub(super) fn hold() -> Hold {
    Hold { _page: KEPT.try_lock().ok(), _last: LAST.try_lock().ok() }
}

/// The page that this process keeps. Nobody waits for it.
static KEPT: Mutex<Option<Page>> = Mutex::new(None);

/// An image's file, sealed, and what it was made of, if it is to be kept.
pub(super) struct Image {
    fd: Low,
    made: Option<Made>,
    owner: Owner,
}

/// What this process keeps for the next image, where it has asked for
/// descriptors to be kept.
struct Last {
    image: Option<Arc<Image>>,
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
impl Drop for Image {
    fn drop(&mut self) {
        if self.owner.is_another() {
            mem::forget(mem::take(&mut self.fd));
        }
    }
}

impl Image {
    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// The file that is made of these parts: the last one, if that was; a
    /// fork may have closed it.
    pub(super) fn of(
        parts: &Parts<'_>,
        first: u16,
        held: &Held,
    ) -> Result<Arc<Image>, Error> {
        let serves = |last: &&Arc<Image>| {
            let same = last.made.as_ref().is_some_and(|made| parts.are(made));
            last.owner.is_this() && same && !held.takes_lent(last.number())
        };
        let mut bytes = Vec::new();
        if let Ok(mut last) = LAST.try_lock() {
            if let Some(same) = last.image.as_ref().filter(serves) {
                return Ok(Arc::clone(same));
            }
            // Its number is the next one's.
            last.image = None;
            bytes = mem::take(&mut last.bytes);
        }
        parts.write(first, image_code(), &mut bytes)?;
        let fd = file(&bytes, held)?;
        let keeps = above().is_some();
        let made = keeps.then(|| parts.to_made());
        let owner = Owner::this();
        let image = Arc::new(Image { fd, made, owner });
        if let (true, Ok(mut last)) = (keeps, LAST.try_lock()) {
            last.image = Some(Arc::clone(&image));
            last.bytes = bytes;
        }
        Ok(image)
    }
}

/// A sealed file.
fn file(bytes: &[u8], held: &Held) -> Result<Low, Error> {
    let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
    room(bytes.len() as u64).map_err(fail)?;
    let file = sealed(|file| file.write_all(bytes));
    let file = file.map_err(|e| Error::io(Step::Image, &e))?;
    held.settle_lent(file).map_err(fail)
}

/// What an image is told through its block: a name that no program has, what
/// this thread may do, whether it is to make a call that a filter may answer
/// with a kill, and its personality. That stays as it is where there
/// is a seccomp filter, which may kill whoever makes a call that it does not
/// know.
pub(super) fn introduce(block: &mut Block, rights: [u64; 3], apart: bool) {
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
        block.set(slot::FLAT, u64::from(own | ADDR_NO_RANDOMIZE));
        block.set(slot::PERSONALITY, own.into());
    }
    block.set(slot::ENDING, refused().mrelease.into());
    block.set(slot::LOCKED, 1);
    block.set(slot::APART, apart.into());
    for (n, word) in (slot::CAPS..).zip(rights) {
        block.set(n, word);
    }
}
