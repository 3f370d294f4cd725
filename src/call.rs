//! `Call` and `Table`: the rows that the walker runs. Plain data, verified.
//!
//! A row is one system call: its number, six arguments, what to do with the
//! result, and the step it belongs to. Rows never change once made and may
//! be shared between threads; what differs from launch to launch (pipe
//! descriptors, the signal mask, results) stands in the numbered slots of a
//! [`Block`] of its own, and a mask in the row says which arguments are slot
//! numbers. A row writes nowhere else.

use core::fmt;
use core::mem::{align_of, offset_of, size_of};

use crate::sys::abi::SIGACTION_SIZE;

/// What the walker makes of a row's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "May, Until and Skip are for options that are still to come"
    )
)]
pub(crate) enum Check {
    /// An error ends the child and is reported.
    Must = 0,
    /// An error stays in the row's slot; the next row runs.
    May = 1,
    /// A candidate program: ENOENT and ENOTDIR go on to the next row, EACCES
    /// is remembered and goes on, any other error is reported.
    Exec = 2,
    /// Anything but `want` is reported, errors included.
    Equal = 3,
    /// Repeats the row while it succeeds or is interrupted, until the result
    /// is `want`; any other error is reported.
    Until = 4,
    /// Leaves out the next `hop` rows if the result is `want`; any other
    /// error is reported.
    Skip = 5,
}

/// Rows that make no system call: the result is computed. The top bit of
/// `nr` marks them.
pub(crate) mod local {
    /// The result is the first argument.
    pub(crate) const VALUE: u32 = 0x8000_0000;
    /// 0 if the bytes at the first two arguments are the same for as many as
    /// the third (at most 8 for a slot's) says, else 1.
    pub(crate) const COMPARE: u32 = 0x8000_0001;
    /// Writes the first argument, as decimal digits and a NUL, into the two
    /// slots from the one that the second argument numbers. The result is 0.
    pub(crate) const DECIMAL: u32 = 0x8000_0002;
}

/// One row. The walker reads it by the offsets asserted below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct Call {
    /// The system call's number, or one of [`local`].
    pub(crate) nr: u32,
    pub(crate) check: Check,
    /// Bit i: `args[i]` is the number of a slot that holds the argument.
    /// Only the first three can be.
    pub(crate) slots: u8,
    /// The slot that takes the result; [`slot::SINK`] if nobody reads it.
    pub(crate) store: u8,
    /// How many rows [`Check::Skip`] leaves out.
    pub(crate) hop: u8,
    pub(crate) args: [u64; 6],
    /// What [`Check::Equal`], `Until` and `Skip` compare the result with.
    pub(crate) want: u64,
    /// Bits added to the result as it is stored, in the same store.
    pub(crate) or: u64,
    /// This row's own place in the table.
    pub(crate) row: u32,
    /// The place in the plan's list of the step this row belongs to.
    pub(crate) step: u16,
    /// Bit i: `args[i]` is the address of a string in the plan's text.
    pub(crate) texts: u8,
    /// Bit i: `args[i]` is the address of an array in the plan's lists.
    pub(crate) lists: u8,
}

/// The length of a row: what the walker adds to go to the next.
pub(crate) const ROW: usize = 80;

const _: () = assert!(size_of::<Call>() == ROW);
const _: () = assert!(align_of::<Call>() == 8);
const _: () = assert!(offset_of!(Call, nr) == 0);
const _: () = assert!(offset_of!(Call, check) == 4);
const _: () = assert!(offset_of!(Call, slots) == 5);
const _: () = assert!(offset_of!(Call, store) == 6);
const _: () = assert!(offset_of!(Call, hop) == 7);
const _: () = assert!(offset_of!(Call, args) == 8);
const _: () = assert!(offset_of!(Call, want) == 56);
const _: () = assert!(offset_of!(Call, or) == 64);
const _: () = assert!(offset_of!(Call, row) == 72);

impl Call {
    /// A row that must succeed; the rest is set by struct update.
    pub(crate) const fn new(nr: u32, args: [u64; 6]) -> Call {
        Call {
            nr,
            check: Check::Must,
            slots: 0,
            store: slot::SINK,
            hop: 0,
            args,
            want: 0,
            or: 0,
            row: 0,
            step: 0,
            texts: 0,
            lists: 0,
        }
    }
}

/// The numbers of the slots. The launch fills those below [`slot::FREE`].
pub(crate) mod slot {
    /// Takes results that nobody reads.
    pub(crate) const SINK: u8 = 0;
    /// A descriptor that must be gone once the table is our own.
    pub(crate) const CANARY: u8 = 1;
    /// The child's pidfd, if the canary is another descriptor.
    pub(crate) const PIDFD: u8 = 2;
    /// The signal mask of the caller.
    pub(crate) const MASK: u8 = 3;
    /// The first descriptor that no row needs.
    pub(crate) const CUT: u8 = 4;
    /// The last descriptor below it.
    pub(crate) const LAST: u8 = 5;
    /// The descriptors that become 0, 1 and 2.
    pub(crate) const STDIO: u8 = 6;
    /// The futex word of the robust list: the kernel marks it at exec and
    /// at death.
    pub(crate) const WORD: u8 = 9;
    /// The robust list's one node, and its head (three words).
    pub(crate) const NODE: u8 = 10;
    pub(crate) const HEAD: u8 = 11;
    /// Addresses of slots; no row may write them.
    pub(crate) const MASK_AT: u8 = 14;
    pub(crate) const HEAD_AT: u8 = 15;
    /// The first that lowering hands out.
    pub(crate) const FREE: u8 = 16;
    /// How many there are.
    pub(crate) const COUNT: u8 = 80;
}

/// What one launch has of its own: 664 bytes on the caller's stack, or in a
/// page that both processes map.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Block {
    /// The row that was last begun.
    pub(crate) reached: u32,
    /// The row that failed, plus one; 0 if none did.
    pub(crate) failed: u32,
    /// The last candidate that was refused with EACCES, plus one; or 0.
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
const _: () = assert!(size_of::<Block>() == 664);

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

    pub(crate) fn set(&mut self, n: u8, value: u64) {
        if let Some(slot) = self.slots.get_mut(usize::from(n)) {
            *slot = value;
        }
    }
}

/// How a call may use its arguments. `addresses` are those that the kernel
/// reads or writes through: they must lie in the plan or in the block.
/// A string ends at its NUL, which the text is sure to have; `reach` is how
/// many bytes a structure in the text takes.
struct Rule {
    nr: u32,
    addresses: u8,
    reach: u64,
}

const fn rule(nr: libc::c_long, addresses: u8) -> Rule {
    Rule { nr: number(nr), addresses, reach: 1 }
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

/// Every call that a table may make in memory shared with the parent: none
/// of them maps, unmaps or writes memory that is not named here.
const RULES: &[Rule] = &[
    rule(libc::SYS_close_range, 0),
    rule(libc::SYS_dup3, 0),
    rule(libc::SYS_fcntl, 0),
    rule(libc::SYS_chdir, 0b1),
    Rule { reach: SIGACTION_SIZE, ..rule(libc::SYS_rt_sigaction, 0b10) },
    rule(libc::SYS_rt_sigprocmask, 0b10),
    rule(libc::SYS_execve, 0b111),
    rule(libc::SYS_exit_group, 0),
    rule(libc::SYS_set_robust_list, 0b1),
    rule(libc::SYS_gettid, 0),
    rule(libc::SYS_getppid, 0),
    rule(libc::SYS_futex, 0b1),
    Rule { nr: local::VALUE, addresses: 0, reach: 0 },
    Rule { nr: local::COMPARE, addresses: 0b11, reach: 0 },
    Rule { nr: local::DECIMAL, addresses: 0, reach: 0 },
];

/// What is wrong with a table: a mistake of ours, never of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Empty,
    Row(u32),
    End,
    Text,
    List,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Row(n) => write!(f, "row {n} of the table is not sound"),
            Flaw::Empty => f.write_str("the table is empty"),
            Flaw::End => f.write_str("the table does not end in exec or exit"),
            Flaw::Text => f.write_str("the text does not end in NUL"),
            Flaw::List => f.write_str("a list holds a foreign address"),
        }
    }
}

/// Rows that may run, with what they point to. Holding one is the proof:
///
/// 1. every row makes a call of [`RULES`], and every argument that the
///    kernel takes as an address is a string of `text`, an array of `lists`
///    or a slot that the launch fills with the address of another;
/// 2. `text` ends in NUL, so every string in it ends within it; `lists` ends
///    in 0 and holds only addresses of `text`;
/// 3. the last row is an exec that must succeed or an exit, and no row hops
///    past it: the walker never leaves the table;
/// 4. every slot number is below [`slot::COUNT`], and no row writes a slot
///    that holds an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    rows: &'a [Call],
}

impl<'a> Table<'a> {
    /// The only constructor. Costs about 2 ns a row and 1 ns a list entry.
    pub(crate) fn new(
        rows: &'a [Call],
        text: &'a [u8],
        lists: &'a [u64],
    ) -> Result<Table<'a>, Flaw> {
        let last = rows.last().ok_or(Flaw::Empty)?;
        if !matches!(text.last(), None | Some(0)) {
            return Err(Flaw::Text);
        }
        let text = span(text.as_ptr().addr(), text.len());
        let in_text = |at: u64| at.wrapping_sub(text.0) < text.1;
        if !lists.iter().all(|at| *at == 0 || in_text(*at)) {
            return Err(Flaw::List);
        }
        if !matches!(lists.last(), None | Some(0)) {
            return Err(Flaw::List);
        }
        let lists = span(lists.as_ptr().addr(), size_of_val(lists));
        for (n, row) in (0u32..).zip(rows) {
            let sound = row.row == n && sound(row, text, lists);
            let hops = n as usize + usize::from(row.hop) + 1;
            if !sound || hops > rows.len() {
                return Err(Flaw::Row(n));
            }
        }
        let ends = [number(libc::SYS_execve), number(libc::SYS_exit_group)];
        let ends = ends.contains(&last.nr) && last.hop == 0;
        if !ends || last.check != Check::Must {
            return Err(Flaw::End);
        }
        Ok(Table { rows })
    }

    pub(crate) fn rows(&self) -> &'a [Call] {
        self.rows
    }
}

/// Start and length, as the rows have them.
fn span(start: usize, len: usize) -> (u64, u64) {
    (start as u64, len as u64)
}

/// Whether one row keeps clauses 1 and 4 of [`Table`].
fn sound(row: &Call, text: (u64, u64), lists: (u64, u64)) -> bool {
    let Some(rule) = RULES.iter().find(|rule| rule.nr == row.nr) else {
        return false;
    };
    let args = (0u8..).zip(row.args).all(|(i, arg)| {
        let bit = 1u8 << i;
        let (is_slot, is_text) = (row.slots & bit, row.texts & bit);
        let address = rule.addresses & bit != 0;
        if is_slot != 0 {
            let held = slot::MASK_AT..slot::FREE;
            let held = held.map(u64::from).any(|n| n == arg);
            let number = arg < u64::from(slot::COUNT);
            i < 3 && number && (held || !address)
        } else if is_text != 0 {
            let compared = row.nr == local::COMPARE;
            let reach = if compared { row.args[2] } else { rule.reach };
            let at = arg.wrapping_sub(text.0);
            address && at < text.1 && reach <= text.1 - at
        } else if row.lists & bit != 0 {
            let at = arg.wrapping_sub(lists.0);
            address && at < lists.1 && at % 8 == 0
        } else {
            !address
        }
    });
    let free = slot::FREE..slot::COUNT;
    let kept = [slot::SINK, slot::WORD];
    let writes = kept.contains(&row.store) || free.contains(&row.store);
    let digits = row.nr != local::DECIMAL || {
        let at = u8::try_from(row.args[1]).unwrap_or(u8::MAX);
        let two = slot::FREE..slot::COUNT - 1;
        two.contains(&at) && row.slots & 0b10 == 0
    };
    args && writes && digits
}
