//! Shared: a block in a page that parent and child both map.
#![allow(unsafe_code, reason = "a mapping is reached by its address")]

use core::ptr::{self, NonNull};
use core::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::address;
use crate::call::Block;
use crate::sys::Errno;

/// The size of the mapping: one page of any size holds a block.
const PAGE: usize = 4096;
const _: () = assert!(size_of::<Block>() <= PAGE);

/// A block in memory that parent and child both see.
pub(super) struct Shared(NonNull<Block>);

impl Shared {
    pub(super) fn new(block: Block) -> Result<Shared, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping, at an address of the kernel's choice,
        // takes nobody's memory.
        let at = unsafe {
            mmap_anonymous(ptr::null_mut(), PAGE, prot, MapFlags::SHARED)
        };
        let at = at.map_err(|e| Errno(e.raw_os_error()))?;
        let at =
            NonNull::new(at.cast::<Block>()).ok_or(Errno(libc::ENOMEM))?;
        // SAFETY: the mapping is page-aligned, writable, ours alone, and at
        // least as long as a block (asserted above).
        unsafe { at.write(block) };
        Ok(Shared(at))
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
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
