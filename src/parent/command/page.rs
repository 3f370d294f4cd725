//! Page: the memory that an image and its parent share, and the image's own
//! file. One page belongs to one launch at a time.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, ftruncate};
use rustix::io::Errno;

use super::held::Held;
use crate::call::{Block, slot};
use crate::launch::forks::generation;
use crate::launch::shared::{PAGE, Shared};
use crate::parent::error::{Error, Step};
use crate::parent::image::{memory_file, of_bytes};
use crate::parent::reserve::{Low, above};
use crate::parent::std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, OnceLock},
};
use crate::sys::abi::Limit;
use crate::sys::call::{capabilities, limit};

/// A page, mapped here, with the file by which a child maps it.
#[derive(Debug)]
pub(super) struct Page {
    fd: Low,
    pub(super) shared: Shared,
    /// The process that made it, where that can be known for sure.
    owner: Option<NonZeroU64>,
}

impl Page {
    pub(super) fn new(held: &Held) -> Result<Page, Error> {
        let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
        // Nobody may execute it.
        let file = memory_file(MemfdFlags::NOEXEC_SEAL).map_err(fail)?;
        ftruncate(&file, PAGE as u64).map_err(fail)?;
        let fd = held.settle(file).map_err(fail)?;
        let file = fd.fd().ok_or_else(|| fail(Errno::BADF))?;
        let shared = Shared::over(file);
        let shared = shared.map_err(|e| Error::os(Step::Image, e.0))?;
        Ok(Page { fd, shared, owner: generation() })
    }

    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// Whether no other process launches with it.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_some() && self.owner == generation()
    }

    /// The page that this process keeps, if no launch uses it and no step of
    /// this plan writes over its number.
    pub(super) fn kept(held: &Held) -> Option<Page> {
        let fits =
            |page: &mut Page| !page.is_own() || !held.takes(page.number());
        let page = KEPT.try_lock().ok()?.take_if(fits);
        page.filter(Page::is_own)
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

/// The page that this process keeps. Nobody waits for it.
static KEPT: Mutex<Option<Page>> = Mutex::new(None);

/// The image's file, sealed. Not written where RLIMIT_FSIZE would end this
/// process by SIGXFSZ.
pub(super) fn image(bytes: &[u8], held: &Held) -> Result<Low, Error> {
    let limit = limit(Limit::FileSize);
    let limit = limit.map_err(|e| Error::os(Step::Image, e.0))?;
    if (bytes.len() as u64) > limit {
        return Err(Error::os(Step::Image, libc::EFBIG));
    }
    let file = of_bytes(bytes).map_err(|e| Error::io(Step::Image, &e))?;
    let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
    held.settle(file).map_err(fail)
}

/// What an image is told through its block: a name that no program has, and
/// what this thread may do.
pub(super) fn introduce(block: &mut Block) {
    static SEED: OnceLock<RandomState> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let n = SEED.get_or_init(RandomState::new).hash_one(n);
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
    for (n, word) in (slot::CAPS..).zip(capabilities()) {
        block.set(n, word);
    }
}
