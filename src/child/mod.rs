//! The other process: a walker in assembly that runs a table.
//!
//! Runs in the child, between clone and exec. It reads the table and the
//! plan, writes the launch's own block, and touches nothing else. Absent: a
//! stack, libc, thread-locals, allocation, panics, and a way to return. (Rows
//! that call a function have a stack: hooks, and the closer of descriptors.)
#![allow(
    unsafe_code,
    reason = "the one jump into the assembly, and its bytes"
)]

pub(crate) mod closefrom_fallback;
pub(crate) mod through;

use core::arch::global_asm;
use core::mem::{offset_of, size_of};
use core::slice;

use crate::call::{Block, Table};

#[cfg(target_arch = "x86_64")]
global_asm!(include_str!("x86_64.s"), options(raw));
#[cfg(target_arch = "aarch64")]
global_asm!(include_str!("aarch64.s"), options(raw));

// The names carry the version: two versions of the crate in one program
// must not meet in the linker.
unsafe extern "C" {
    fn offshoot_0_1_enter(door: *const ChildEntry) -> isize;
    static offshoot_0_1_image: u8;
    static offshoot_0_1_image_end: u8;
}

/// What an image runs: the walker once more, as bytes, with its beginning.
pub(crate) fn helper_code() -> &'static [u8] {
    let from = &raw const offshoot_0_1_image;
    let len = (&raw const offshoot_0_1_image_end).addr() - from.addr();
    // SAFETY: the two labels enclose bytes of the assembly in .rodata, which
    // are there for good and never written.
    unsafe { slice::from_raw_parts(from, len) }
}

/// What the clone entry loads into registers: the system call that makes the
/// child, then what the child walks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ChildEntry {
    nr: u64,
    args: [u64; 5],
    rows: u64,
    block: u64,
}

const _: () = assert!(size_of::<ChildEntry>() == 64);
const _: () = assert!(offset_of!(ChildEntry, args) == 8);
const _: () = assert!(offset_of!(ChildEntry, rows) == 48);
const _: () = assert!(offset_of!(ChildEntry, block) == 56);

/// Makes a child by system call `nr` and has it walk `table`. Returns, in
/// the parent alone, the child's process id or a negative errno.
///
/// # Safety
///
/// Clause 1: `nr` with `args` is clone3 or clone, with no stack of its own
/// for the child; every address in `args` is valid for that call.
/// Clause 2: `block` is valid for reads and writes and nobody else uses it,
/// and the table's memory stays as it is, until the child has exec'd or is
/// dead, or the child has a copy of both (no `CLONE_VM`).
/// Clause 3: the slots that hold addresses hold those of slots of this block.
/// Clause 4: the functions that rows call keep clause 6 of `launch`.
pub(crate) unsafe fn enter(
    nr: u64,
    args: [u64; 5],
    table: &Table<'_>,
    block: *mut Block,
) -> i64 {
    let rows = table.rows().as_ptr().expose_provenance() as u64;
    let block = block.expose_provenance() as u64;
    let door = ChildEntry { nr, args, rows, block };
    // SAFETY: clauses 1 to 4 are the caller's; the table is verified, which
    // is what the walker asks of it. The parent's side of the entry keeps
    // the C calling convention, and the child never returns from it.
    let made = unsafe { offshoot_0_1_enter(&raw const door) };
    made as i64
}
