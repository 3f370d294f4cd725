//! Exec in place: a walker in Rust runs the rows in this process.
//!
//! The same walker on a fake kernel is the model that the assembly is compared
//! with, row kind by row kind (`src/model.rs`).
#![allow(unsafe_code, reason = "the rows are system calls")]

use core::cell::UnsafeCell;
use core::{ptr, slice};

use super::args::LaunchArgs;
use super::environ::Environ;
use crate::call::{Block, Call, Callback, Check, ROW, Table, local, slot};
use crate::sys::arch::syscall;
use crate::sys::safe::getppid;
use crate::sys::{CloneCall, CloneFlags, Errno, bits, ids, number};

/// Runs the rows from number `from` on, counted from 1, in this process.
/// Returns only if one of them fails; the block then names it. Results of
/// earlier rows stay in the block. `mask` is that of the program, which a row
/// sets. The caller has blocked signals.
///
/// System calls and callbacks write the block by the addresses in its slots,
/// so no reference to it exists while a row runs.
pub(crate) fn run(
    table: &Table<'_>,
    from: u16,
    block: &UnsafeCell<Block>,
    environ: Option<Environ<'_>>,
    mask: u64,
) {
    let args = LaunchArgs {
        traced: false,
        clone_call: CloneCall::Clone,
        flags: CloneFlags::empty(),
        omitted_flags: CloneFlags::empty(),
        probe_fd: None,
        cgroup: None,
        tids: &[],
        mask: Some(mask),
        parent_pid: false,
        environ,
        gate: None,
        listener: None,
        watch: None,
        in_between: false,
    };
    BlockCell(block).with(|block, at| {
        args.fill_slots(block, at);
        block.set(slot::SIGMASK, mask);
        block.set(slot::PARENT_PID, getppid().into());
        (block.failed, block.denied) = (0, 0);
    });
    let done = usize::from(from).saturating_sub(1);
    let rows = table.rows().get(done..).unwrap_or_default();
    walk(rows, block, &mut kernel);
}

/// Makes the call of one row of a verified table.
fn kernel(nr: u32, args: [u64; 6]) -> i64 {
    match nr {
        local::COMPARE => {
            i64::from(bytes(args[0], args[2]) != bytes(args[1], args[2]))
        }
        local::CALLBACK => call_back(args),
        // SAFETY: clause 1 of this directory: a row of a verified table, with
        // addresses in the plan or in `run`'s block.
        nr => match unsafe { ids::change(i64::from(nr), args) } {
            Some(result) => result,
            // SAFETY: clause 1 of this directory, for all other calls.
            None => unsafe { syscall(i64::from(nr), args) },
        },
    }
}

fn bytes<'a>(at: u64, len: u64) -> &'a [u8] {
    let narrow = |n: u64| usize::try_from(n).unwrap_or_default();
    let at = ptr::with_exposed_provenance::<u8>(narrow(at));
    // SAFETY: clause 1 of this directory: the row is verified to compare so
    // many bytes of the plan or the block, which no code writes meanwhile.
    unsafe { slice::from_raw_parts(at, narrow(len)) }
}

fn call_back(args: [u64; 6]) -> i64 {
    let at = usize::try_from(args[0]).unwrap_or_default();
    let at = ptr::with_exposed_provenance::<Callback>(at);
    // SAFETY: clause 5 of `Table`: the address is that of a callback that
    // the table borrows.
    let Callback { run, data } = unsafe { at.read() };
    // SAFETY: clause 6 of this directory: the function writes only to what the
    // row gives it.
    unsafe { run(data, args[1], args[2]) }
}

/// The block that the walker uses. Between two rows it is accessed through
/// references; while a row runs none exists.
#[derive(Clone, Copy)]
struct BlockCell<'a>(&'a UnsafeCell<Block>);

impl BlockCell<'_> {
    /// Passes the block and its address to `act`, which runs no row.
    fn with<T>(self, act: impl FnOnce(&mut Block, *mut Block) -> T) -> T {
        let at = self.0.get();
        // SAFETY: clause 2 of this directory: the cell is not shared between
        // threads, and only rows write it by its address: this borrow ends
        // before the next one runs.
        act(unsafe { &mut *at }, at)
    }
}

/// Runs the rows as the assembly does. Returns `None` if a row fails, or the
/// exit code of an exit row.
pub(crate) fn walk(
    rows: &[Call],
    block: &UnsafeCell<Block>,
    kernel: &mut dyn FnMut(u32, [u64; 6]) -> i64,
) -> Option<u64> {
    let block = BlockCell(block);
    let mut at = 0;
    loop {
        let row = rows.get(at)?;
        let args = block.with(|block, _| {
            block.reached = u32::from(row.row);
            arguments(row, block)
        });
        if i64::from(row.nr) == libc::SYS_exit_group {
            return Some(args[0]);
        }
        let result = match row.nr {
            local::VALUE => number(args[0]),
            local::DECIMAL => decimal(args[0]),
            nr => kernel(nr, args),
        };
        let next = block.with(|block, _| check(row, block, result));
        match next {
            Next::Repeat => {}
            Next::Advance(n) => at += n,
            Next::Failed => return None,
        }
    }
}

/// What the walker does after a row.
enum Next {
    Repeat,
    /// Goes this many rows further.
    Advance(usize),
    Failed,
}

/// Stores a row's result and checks it.
fn check(row: &Call, block: &mut Block, result: i64) -> Next {
    block.set(row.store, bits(result) | row.or);
    let error = (-4095..0).contains(&result);
    let wanted = bits(result) == row.want;
    let mut skipped = 0;
    let fails = match row.check {
        Check::Must => error,
        Check::May if error => {
            skipped = usize::from(row.skip / ROW);
            false
        }
        Check::May => false,
        Check::Equal => !wanted,
        Check::Exec if !error || tries_next(row, result) => false,
        Check::Exec if result == -i64::from(libc::EACCES) => {
            block.denied = u32::from(row.row);
            false
        }
        Check::Exec => true,
        Check::Until if wanted => false,
        Check::Until if !error || result == -i64::from(libc::EINTR) => {
            return Next::Repeat;
        }
        Check::Until => true,
        Check::Skip if wanted => {
            skipped = usize::from(row.skip / ROW);
            false
        }
        Check::Skip => error,
    };
    if fails {
        block.result = result;
        block.failed = u32::from(row.row);
        return Next::Failed;
    }
    Next::Advance(1 + skipped)
}

/// Whether the next candidate is tried after this result.
fn tries_next(row: &Call, result: i64) -> bool {
    let errno = Errno::of(result).map_or(0, |errno| errno.0.unsigned_abs());
    let errnos = u128::from(row.or) << 64 | u128::from(row.want);
    errno < 128 && errnos & (1 << errno) != 0
}

fn arguments(row: &Call, block: &Block) -> [u64; 6] {
    let mut args = row.args;
    for (i, arg) in (0u8..4).zip(&mut args) {
        if row.slots & (1 << i) != 0 {
            *arg = block.slot(u8::try_from(*arg).unwrap_or(slot::SINK));
        }
    }
    args
}

/// Returns up to seven digits, the first in the lowest byte.
fn decimal(n: u64) -> i64 {
    let (mut n, mut digits) = (n & u64::from(u32::MAX), 0);
    loop {
        digits = digits << 8 | (b'0' as u64 + n % 10);
        n /= 10;
        if n == 0 {
            return number(digits);
        }
    }
}
