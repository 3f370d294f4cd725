//! Shared: a block in a page that parent and child both map.
#![allow(unsafe_code, reason = "a mapping is reached by its address")]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;

use rustix::fd::BorrowedFd;
use rustix::io::Errno as Failure;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::address;
use crate::call::Block;
use crate::sys::Errno;

/// The size of the mapping: one page of any size holds a block.
pub(crate) const PAGE_SIZE: usize = 4096;
const _: () = assert!(size_of::<Block>() <= PAGE_SIZE);

const PROT: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A block in memory that parent and child both see.
#[derive(Debug)]
pub(crate) struct Shared(NonNull<Block>);

// SAFETY: the mapping is this value's own, wherever it goes; a shared
// reference reads it through volatile and atomic accesses only.
unsafe impl Send for Shared {}

impl Shared {
    pub(super) fn new(block: &Block) -> Result<Shared, Errno> {
        // SAFETY: a fresh mapping, at an address of the kernel's choice,
        // takes nobody's memory.
        let at = unsafe {
            mmap_anonymous(ptr::null_mut(), PAGE_SIZE, PROT, MapFlags::SHARED)
        };
        Shared::mapped(at, block)
    }

    /// In the first page of a memory file, which a child can map as well.
    pub(crate) fn over(file: BorrowedFd<'_>) -> Result<Shared, Errno> {
        let (null, shared) = (ptr::null_mut(), MapFlags::SHARED);
        // SAFETY: a fresh mapping, at an address of the kernel's choice,
        // takes nobody's memory.
        let at = unsafe { mmap(null, PAGE_SIZE, PROT, shared, file, 0) };
        Shared::mapped(at, &Block::new())
    }

    fn mapped(
        at: Result<*mut c_void, Failure>,
        block: &Block,
    ) -> Result<Shared, Errno> {
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at =
            NonNull::new(at.cast::<Block>()).ok_or(Errno(libc::ENOMEM))?;
        let mut shared = Shared(at);
        shared.fill(block);
        Ok(shared)
    }

    /// Puts a block there, before there is a child.
    pub(super) fn fill(&mut self, block: &Block) {
        // SAFETY: the mapping is page-aligned, writable, ours alone (clause 2
        // of this folder: no child uses it now), and at least as long as a
        // block (asserted above).
        unsafe { self.0.write(*block) };
    }

    /// Where both processes find the block.
    pub(super) fn at(&self) -> *mut Block {
        self.0.as_ptr()
    }

    /// The block, before there is a child.
    pub(super) fn block(&mut self) -> &mut Block {
        // SAFETY: the mapping holds an initialised block; clause 2 of this
        // folder: no child has been lent it yet, so this is the only way in.
        unsafe { self.0.as_mut() }
    }

    /// The low half of a slot, while the child may write the block.
    pub(super) fn half(&self, n: u8) -> &AtomicU32 {
        let at = address(self.0.as_ptr(), n);
        let at = usize::try_from(at).unwrap_or_default();
        let at = ptr::with_exposed_provenance_mut::<u32>(at);
        // SAFETY: the slot is 8-aligned memory of the mapping, which lives
        // as long as `self`, and is only ever reached as an atomic while a
        // child lives. Little-endian, so the low half comes first.
        unsafe { AtomicU32::from_ptr(at) }
    }

    /// What the child left.
    pub(super) fn read(&self) -> Block {
        // SAFETY: the mapping holds an initialised block of plain numbers;
        // clause 2 of this folder: the child is past using it.
        unsafe { self.0.as_ptr().read_volatile() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no reference to
        // it outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE_SIZE) };
    }
}
