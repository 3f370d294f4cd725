//! `Call`: one row of a table that the walker runs, and the block that rows
//! write. Plain data.
//!
//! A row is one system call: its number, six arguments, what to do with the
//! result, and the step that it belongs to. Rows never change and may be
//! shared between threads. What differs from launch to launch (pipe
//! descriptors, the signal mask, results) is in the numbered slots of a
//! [`Block`], of which each launch has its own. A mask in the row says which
//! arguments are slot numbers. A row writes to slots only.

pub(crate) mod filter;
pub(crate) mod helper_table;
pub(crate) mod raw;
mod rules;
pub(crate) mod slot;
mod table;
mod verify_error;

pub(crate) use helper_table::HelperTable;
pub(crate) use table::Table;
pub(crate) use verify_error::VerifyError;

use core::mem::{align_of, offset_of, size_of};

/// How the walker checks a row's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Check {
    /// An error ends the child and is reported.
    Must = 0,
    /// An error is stored in the row's slot, and skips the next rows, `skip`
    /// bytes of them.
    May = 1,
    /// A candidate program: after errno n the next row runs if bit n is set
    /// in `want` (0 to 63) or `or` (64 to 127). After EACCES it does too, and
    /// the row is recorded. Any other error is reported.
    Exec = 2,
    /// Any result but `want` is reported, errors too.
    Equal = 3,
    /// Repeats the row while it succeeds or is interrupted, until the result
    /// is `want`; any other error is reported.
    Until = 4,
    /// Skips the next rows, `skip` bytes of them, if the result is `want`; any
    /// other error is reported.
    Skip = 5,
}

/// Rows that make no system call: the result is computed. The top bit of
/// `nr` marks them.
pub(crate) mod local {
    /// The result is the first argument.
    pub(crate) const VALUE: u32 = 0x8000_0000;
    /// 0 if the bytes at the first two arguments are equal, else 1. The third
    /// is their number.
    pub(crate) const COMPARE: u32 = 0x8000_0001;
    /// The result is the first argument, a process id, as up to seven decimal
    /// digits: the first digit in the lowest byte, zeros after the last.
    pub(crate) const DECIMAL: u32 = 0x8000_0002;
    /// The result is what a [`Callback`](super::Callback) returns, whose
    /// address is the first argument; it gets the next two.
    pub(crate) const CALLBACK: u32 = 0x8000_0003;
}

/// A function that the child calls, and its first argument. Only in engines
/// that run in this process's memory or in a copy of it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Callback {
    pub(crate) run: unsafe extern "C" fn(u64, u64, u64) -> i64,
    pub(crate) data: u64,
}

const _: () = assert!(size_of::<Callback>() == 16);
const _: () = assert!(offset_of!(Callback, run) == 0);
const _: () = assert!(offset_of!(Callback, data) == 8);

/// One row. The walker reads it by the offsets asserted below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Call {
    /// The system call's number, or one of [`local`].
    pub(crate) nr: u32,
    pub(crate) check: Check,
    /// Bit i: `args[i]` is the number of a slot that holds the argument.
    /// Only the first four can be.
    pub(crate) slots: u8,
    /// The slot that takes the result; [`slot::SINK`] if no row reads it.
    pub(crate) store: u8,
    /// Bit i: `args[i]` is the index of a source descriptor in the plan; none
    /// is left once the row is compiled for a strategy.
    pub(crate) fds: u8,
    pub(crate) args: [u64; 6],
    /// What [`Check::Equal`], `Until` and `Skip` compare the result with.
    /// With `or`, the errnos after which [`Check::Exec`] tries the next row.
    pub(crate) want: u64,
    /// Bits that are set in the result as it is stored, in the same write.
    pub(crate) or: u64,
    /// This row's number in the table, counted from 1.
    pub(crate) row: u16,
    /// The length in bytes of the rows that [`Check::Skip`] and `May` skip.
    pub(crate) skip: u16,
    /// The index in the plan's list of the step that this row belongs to.
    pub(crate) step: u16,
    /// Bit i: `args[i]` is an address in the plan's string table.
    pub(crate) texts: u8,
    /// Bit i: `args[i]` is the address of an array in the plan's lists.
    pub(crate) lists: u8,
}

/// Returns `want` and `or` of a [`Check::Exec`] row that continues after these
/// error numbers, all below 128.
pub(crate) const fn errno_bits(errnos: &[i32]) -> (u64, u64) {
    let (mut all, mut n) = ([0u64; 2], 0);
    while n < errnos.len() {
        let errno = errnos[n].unsigned_abs();
        all[(errno / 64) as usize] |= 1 << (errno % 64);
        n += 1;
    }
    (all[0], all[1])
}

/// The name of the variable that each launch has its own value of, and `=`.
pub(crate) const LISTEN_PID: [u8; 11] = *b"LISTEN_PID=";

/// The length of a row: what the walker adds to get to the next.
pub(crate) const ROW: u16 = 80;

const _: () = assert!(size_of::<Call>() == ROW as usize);
const _: () = assert!(align_of::<Call>() == 8);
const _: () = assert!(offset_of!(Call, nr) == 0);
const _: () = assert!(offset_of!(Call, check) == 4);
const _: () = assert!(offset_of!(Call, slots) == 5);
const _: () = assert!(offset_of!(Call, store) == 6);
const _: () = assert!(offset_of!(Call, skip) == 74);
const _: () = assert!(offset_of!(Call, args) == 8);
const _: () = assert!(offset_of!(Call, want) == 56);
const _: () = assert!(offset_of!(Call, or) == 64);
const _: () = assert!(offset_of!(Call, row) == 72);

/// No system call returns this: it is no errno, number or address.
const NO_RESULT: u64 = 1 << 63;

impl Call {
    /// A row that must succeed; other fields are set by struct update.
    pub(crate) const fn new(nr: u32, args: [u64; 6]) -> Call {
        Call {
            nr,
            check: Check::Must,
            slots: 0,
            store: slot::SINK,
            fds: 0,
            args,
            want: 0,
            or: 0,
            row: 0,
            skip: 0,
            step: 0,
            texts: 0,
            lists: 0,
        }
    }

    /// Makes every return of the call a failure, success included: exec does
    /// not return, but a filter or tracer can answer for it.
    pub(crate) fn must_not_return(&mut self) {
        (self.check, self.want) = (Check::Equal, NO_RESULT);
    }

    /// Whether the walker cannot go on behind this row: an exit, or an exec
    /// that must not return.
    fn ends_table(&self) -> bool {
        let never = self.check == Check::Equal && self.want == NO_RESULT;
        let exits = self.nr == number(libc::SYS_exit_group);
        let execs = [libc::SYS_execve, libc::SYS_execveat].map(number);
        let ends = exits && self.check == Check::Must
            || execs.contains(&self.nr) && never;
        ends && self.skip == 0
    }
}

impl Call {
    /// Returns the row as it is in memory.
    pub(crate) fn bytes(&self) -> [u8; ROW as usize] {
        let mut all = [0; ROW as usize];
        let mut put = |at: usize, bytes: &[u8]| {
            // A loop over single bytes costs 10 us a row in a debug build.
            if let Some(to) = all.get_mut(at..at + bytes.len()) {
                to.copy_from_slice(bytes);
            }
        };
        put(offset_of!(Call, nr), &self.nr.to_le_bytes());
        let small = [self.check as u8, self.slots, self.store];
        put(offset_of!(Call, check), &small);
        for (n, arg) in self.args.iter().enumerate() {
            put(offset_of!(Call, args) + 8 * n, &arg.to_le_bytes());
        }
        put(offset_of!(Call, want), &self.want.to_le_bytes());
        put(offset_of!(Call, or), &self.or.to_le_bytes());
        put(offset_of!(Call, row), &self.row.to_le_bytes());
        put(offset_of!(Call, skip), &self.skip.to_le_bytes());
        all
    }
}

/// The gate's word while the child waits there, and once it may continue. No
/// process has such an id.
pub(crate) mod gate {
    pub(crate) const WAITING: u32 = 0x2000_0000;
    pub(crate) const OPEN: u32 = 0x2000_0001;
}

/// The memory of one launch: 1,232 bytes on the caller's stack or in a page
/// that both processes map.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Block {
    /// The row that was begun last, counted from 1; 0 if none was.
    pub(crate) reached: u32,
    /// The row that failed, counted from 1; 0 if none did.
    pub(crate) failed: u32,
    /// The last candidate that failed with EACCES, counted likewise.
    pub(crate) denied: u32,
    pad: u32,
    /// The raw result of the row that failed.
    pub(crate) result: i64,
    pub(crate) slots: [u64; slot::COUNT as usize],
}

const _: () = assert!(offset_of!(Block, reached) == 0);
const _: () = assert!(offset_of!(Block, failed) == 4);
const _: () = assert!(offset_of!(Block, denied) == 8);
const _: () = assert!(offset_of!(Block, result) == 16);
const _: () = assert!(offset_of!(Block, slots) == 24);
const _: () = assert!(size_of::<Block>() == 1232);

impl Block {
    pub(crate) const fn new() -> Block {
        Block {
            reached: 0,
            failed: 0,
            denied: 0,
            pad: 0,
            result: 0,
            slots: [0; slot::COUNT as usize],
        }
    }

    pub(crate) fn slot(&self, n: u8) -> u64 {
        self.slots.get(usize::from(n)).copied().unwrap_or_default()
    }

    /// Returns the address of a slot of the block at `base`.
    pub(crate) fn slot_address(base: *mut Block, n: u8) -> u64 {
        let offset = offset_of!(Block, slots) + 8 * usize::from(n);
        (base.expose_provenance() + offset) as u64
    }

    pub(crate) fn set(&mut self, n: u8, value: u64) {
        if let Some(slot) = self.slots.get_mut(usize::from(n)) {
            *slot = value;
        }
    }
}

/// A system call's number as a row holds it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked on the line before; numbers are small and positive"
)]
pub(crate) const fn number(nr: libc::c_long) -> u32 {
    assert!(nr >= 0 && nr < 1 << 20);
    nr as u32
}
