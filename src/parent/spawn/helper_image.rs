//! `HelperImage`: the sealed file that a helper is executed from. Any number
//! of launches use one at a time.

use core::mem;

use rustix::io::Errno;

use super::source_fds::SourceFds;
use crate::call::Call;
use crate::launch::helper_code;
use crate::parent::error::{Error, Step};
use crate::parent::plan::helper_layout::{HelperContents, HelperLayout};
use crate::parent::reserve::{ReservedFd, checked_top_fd, top_fd};
use crate::parent::sealed_memfd::{check_file_size, sealed_memfd};
use crate::parent::std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard},
    vec::Vec,
};
use crate::sys::fork_detection::Owner;

/// A helper's file; if it may be cached, also what it contains.
pub(super) struct HelperImage {
    fd: ReservedFd,
    contents: Option<HelperContents>,
    owner: Owner,
}

/// What this process caches for the next image, if it has reserved
/// descriptors.
pub(super) struct Cache {
    image: Option<Arc<HelperImage>>,
    /// Memory for an image and its rows. If as much is allocated anew, glibc
    /// consolidates all memory that was freed.
    bytes: Vec<u8>,
    rows: Vec<Call>,
}

/// Locked with `try_lock` only.
static CACHE: Mutex<Cache> =
    Mutex::new(Cache { image: None, bytes: Vec::new(), rows: Vec::new() });

impl HelperImage {
    pub(super) fn number(&self) -> u32 {
        self.fd.number()
    }

    /// Whether this thread's descriptor table has it, as
    /// [`ReservedFd::is_usable`].
    pub(super) fn is_usable(&self, strict: bool) -> bool {
        self.fd.is_usable(strict)
    }

    /// Records its file, so that other threads can use it.
    pub(super) fn record_file(&self) {
        self.fd.record_file();
    }

    /// Returns the cached image, if it has this layout, else a new one.
    pub(super) fn with_layout(
        layout: &HelperLayout<'_>,
        first: u16,
        source_fds: &SourceFds,
    ) -> Result<Arc<HelperImage>, Error> {
        let serves = |image: &&Arc<HelperImage>| {
            let contents = image.contents.as_ref();
            let same = contents.is_some_and(|contents| layout.is_of(contents));
            image.owner.is_this()
                && same
                && !source_fds.is_helper_target(image.number())
        };
        let mut bytes = Vec::new();
        let mut cacheable = true;
        if let Ok(mut cache) = CACHE.try_lock() {
            // An image of another descriptor table stays in the cache.
            let other_table = cache.image.as_ref().is_some_and(|image| {
                image.owner.is_this() && !image.is_usable(true)
            });
            cacheable = !other_table;
            if !other_table {
                if let Some(image) = cache.image.as_ref().filter(serves) {
                    return Ok(Arc::clone(image));
                }
                // Frees its number for the new image.
                cache.image = None;
            }
            bytes = mem::take(&mut cache.bytes);
        }
        layout.write(first, helper_code(), &mut bytes)?;
        let fd = sealed_file(&bytes, source_fds)?;
        let cacheable = cacheable && checked_top_fd().is_some();
        let contents = cacheable.then(|| layout.to_contents());
        let owner = Owner::this();
        let image = Arc::new(HelperImage { fd, contents, owner });
        if let (true, Ok(mut cache)) = (cacheable, CACHE.try_lock()) {
            image.record_file();
            cache.image = Some(Arc::clone(&image));
            cache.bytes = bytes;
        }
        Ok(image)
    }
}

/// As for a status page: a fork closes no descriptor of its parent's.
impl Drop for HelperImage {
    fn drop(&mut self) {
        if self.owner.is_another() {
            self.fd.forget();
        }
    }
}

fn sealed_file(
    bytes: &[u8],
    source_fds: &SourceFds,
) -> Result<ReservedFd, Error> {
    let fail = |e: Errno| Error::os(Step::Image, e.raw_os_error());
    check_file_size(bytes.len() as u64).map_err(fail)?;
    let file = sealed_memfd(|file| file.write_all(bytes));
    let file = file.map_err(|e| Error::io(Step::Image, &e))?;
    source_fds.move_off_helper_targets(file).map_err(fail)
}

/// Returns empty memory for rows.
pub(super) fn take_row_buffer() -> Vec<Call> {
    let rows = CACHE.try_lock().map(|mut cache| mem::take(&mut cache.rows));
    rows.unwrap_or_default()
}

/// Caches the memory of rows that are no longer used.
pub(super) fn recycle_row_buffer(mut rows: Vec<Call>) {
    if let (true, Ok(mut cache)) = (top_fd().is_some(), CACHE.try_lock()) {
        rows.clear();
        cache.rows = rows;
    }
}

/// Closes the cached image, where descriptors run out.
pub(super) fn drop_cache() {
    if let Ok(mut cache) = CACHE.try_lock() {
        cache.image.take_if(|image| image.is_usable(true));
    }
}

/// Other threads do not use the cache while this lives.
pub(super) type CacheLock = Option<MutexGuard<'static, Cache>>;

pub(super) fn lock_cache() -> CacheLock {
    CACHE.try_lock().ok()
}
