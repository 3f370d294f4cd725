//! `SharedBlock`: a block in a page that parent and child both map.
#![allow(unsafe_code, reason = "a mapping is accessed by its address")]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::BorrowedFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::call::Block;
use crate::sys::{Errno, bits};

/// The size of the mapping. A page of any size is at least as large.
pub(crate) const PAGE_SIZE: usize = 4096;
const _: () = assert!(size_of::<Block>() <= PAGE_SIZE);

const PROT: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A block in memory that parent and child share.
#[derive(Debug)]
pub(crate) struct SharedBlock(NonNull<Block>);

// SAFETY: this value owns the mapping, in whichever thread it is; a shared
// reference makes volatile and atomic accesses only.
unsafe impl Send for SharedBlock {}

impl SharedBlock {
    pub(super) fn new(block: &Block) -> Result<SharedBlock, Errno> {
        // SAFETY: a new mapping, at an address that the kernel chooses,
        // replaces no other memory.
        let at = unsafe {
            mmap_anonymous(ptr::null_mut(), PAGE_SIZE, PROT, MapFlags::SHARED)
        };
        SharedBlock::from_mapping(at, block)
    }

    /// Maps the first page of a memfd, which a child can map too.
    pub(crate) fn map_file(
        file: BorrowedFd<'_>,
    ) -> Result<SharedBlock, Errno> {
        let (null, shared) = (ptr::null_mut(), MapFlags::SHARED);
        // SAFETY: a new mapping, at an address that the kernel chooses,
        // replaces no other memory.
        let at = unsafe { mmap(null, PAGE_SIZE, PROT, shared, file, 0) };
        SharedBlock::from_mapping(at, &Block::new())
    }

    fn from_mapping(
        at: Result<*mut c_void, rustix::io::Errno>,
        block: &Block,
    ) -> Result<SharedBlock, Errno> {
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at =
            NonNull::new(at.cast::<Block>()).ok_or(Errno(libc::ENOMEM))?;
        let mut shared = SharedBlock(at);
        shared.fill(block);
        Ok(shared)
    }

    /// Writes a whole block, before there is a child.
    pub(super) fn fill(&mut self, block: &Block) {
        // SAFETY: the mapping is page-aligned, writable, at least as long as a
        // block (asserted above), and no child uses it now (clause 2 of this
        // directory).
        unsafe { self.0.write(*block) };
    }

    /// Returns the address of the block, in this process and its copies.
    pub(super) fn at(&self) -> *mut Block {
        self.0.as_ptr()
    }

    /// Returns the block, before there is a child.
    pub(crate) fn block(&mut self) -> &mut Block {
        // SAFETY: the mapping holds an initialised block; clause 2 of this
        // directory: no child uses it yet, so this is the only access.
        unsafe { self.0.as_mut() }
    }

    /// Returns the low half of a slot, while the child may write the block.
    pub(super) fn atomic(&self, n: u8) -> &AtomicU32 {
        let at = Block::slot_address(self.0.as_ptr(), n);
        let at = usize::try_from(at).unwrap_or_default();
        let at = ptr::with_exposed_provenance_mut::<u32>(at);
        // SAFETY: the slot is 8-aligned memory of the mapping, which lives
        // as long as `self`, and all accesses while a child lives are atomic.
        // Both architectures are little-endian: the low half is first.
        unsafe { AtomicU32::from_ptr(at) }
    }

    /// Stores an errno in a slot that the child waits for, as its row's result.
    pub(super) fn store_error(&self, n: u8, errno: i32) {
        let bits = bits(-i64::from(errno));
        let half = |n: u64| u32::try_from(n & u64::from(u32::MAX));
        let (low, high) = (half(bits), half(bits >> 32));
        // The low half is what the child waits for.
        let at = Block::slot_address(self.0.as_ptr(), n) + 4;
        let at = usize::try_from(at).unwrap_or_default();
        let at = ptr::with_exposed_provenance_mut::<u32>(at);
        // SAFETY: as in `atomic`, for the high half of the slot.
        let word = unsafe { AtomicU32::from_ptr(at) };
        word.store(high.unwrap_or(u32::MAX), Ordering::Relaxed);
        self.atomic(n).store(low.unwrap_or(u32::MAX), Ordering::Release);
    }

    /// Returns a copy of the block as it is now.
    pub(crate) fn read(&self) -> Block {
        // SAFETY: the mapping holds an initialised block of plain numbers.
        // Clause 2 of this directory: the access makes no reference, and it is
        // volatile, as a child may write meanwhile.
        unsafe { self.0.as_ptr().read_volatile() }
    }
}

impl Drop for SharedBlock {
    fn drop(&mut self) {
        // SAFETY: `self` owns the mapping, of this length, and no reference
        // to it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE_SIZE) };
    }
}
