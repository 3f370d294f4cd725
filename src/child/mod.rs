//! The child: a walker in assembly that runs a table.
//!
//! It runs between clone and exec, reads the table and the plan, writes the
//! launch's own block, and accesses no other memory. Absent: a stack, libc,
//! thread-locals, allocation, panics, and a way to return. (A row that calls a
//! function has a stack: a hook, a claim, or a loop that closes descriptors.)
#![allow(unsafe_code, reason = "calls the assembly and reads its bytes")]

pub(crate) mod claims;
pub(crate) mod closefrom_fallback;

use core::arch::global_asm;
use core::mem::{offset_of, size_of};
use core::slice;

use crate::call::{Block, Table};

#[cfg(target_arch = "x86_64")]
global_asm!(include_str!("x86_64.s"), options(raw));
#[cfg(target_arch = "aarch64")]
global_asm!(include_str!("aarch64.s"), options(raw));

// The names contain the version: two versions of the crate may be linked into
// one program.
unsafe extern "C" {
    fn offshoot_0_1_enter(entry: *const ChildEntry) -> isize;
    static offshoot_0_1_helper: u8;
    static offshoot_0_1_helper_end: u8;
}

/// Returns the helper's code: its entry and a second copy of the walker.
pub(crate) fn helper_code() -> &'static [u8] {
    let from = &raw const offshoot_0_1_helper;
    let len = (&raw const offshoot_0_1_helper_end).addr() - from.addr();
    // SAFETY: the two labels enclose bytes of the assembly in .rodata, which
    // is never unmapped and never written.
    unsafe { slice::from_raw_parts(from, len) }
}

/// What `offshoot_0_1_enter` loads into registers: the system call that makes
/// the child, then the rows and the block that the child uses.
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

/// Makes a child by system call `nr`, which runs `table`. Returns the child's
/// process id or a negative errno, in the parent only.
///
/// # Safety
///
/// Clause 1: `nr` with `args` is clone3 or clone, with no stack of its own
/// for the child; every address in `args` is valid for that call.
/// Clause 2: until the child has exec'd or died, `block` is valid for reads
/// and writes and no other code uses it, and the table's memory does not
/// change; or the child has a copy of both (no `CLONE_VM`).
/// Clause 3: the slots that hold addresses hold those of slots of this block.
/// Clause 4: clause 6 of `launch` holds for the functions that rows call.
pub(crate) unsafe fn enter(
    nr: u64,
    args: [u64; 5],
    table: &Table<'_>,
    block: *mut Block,
) -> i64 {
    let rows = table.rows().as_ptr().expose_provenance() as u64;
    let block = block.expose_provenance() as u64;
    let entry = ChildEntry { nr, args, rows, block };
    // SAFETY: the caller guarantees clauses 1 to 4; the table is verified, as
    // the walker requires. In the parent the function follows the C calling
    // convention; in the child it never returns.
    let result = unsafe { offshoot_0_1_enter(&raw const entry) };
    result as i64
}
