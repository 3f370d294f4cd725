//! `Call`: a row that the walker runs, and the block it writes. Plain data.
//!
//! A row is one system call: its number, six arguments, what to do with the
//! result, and the step it belongs to. Rows never change once made and may
//! be shared between threads; what differs from launch to launch (pipe
//! descriptors, the signal mask, results) stands in the numbered slots of a
//! [`Block`] of its own, and a mask in the row says which arguments are slot
//! numbers. A row writes nowhere else.

pub(crate) mod helper_table;
mod rules;
mod table;

pub(crate) use helper_table::HelperTable;
pub(crate) use table::{Table, VerifyError};

use core::mem::{align_of, offset_of, size_of};

/// What the walker makes of a row's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Check {
    /// An error ends the child and is reported.
    Must = 0,
    /// An error stays in the row's slot; the next row runs.
    May = 1,
    /// A candidate program: errno n goes on to the next row where bit n is
    /// set in the 128 that `want` (0 to 63) and `or` (64 to 127) make, EACCES
    /// is remembered and goes on, any other error is reported.
    Exec = 2,
    /// Anything but `want` is reported, errors included.
    Equal = 3,
    /// Repeats the row while it succeeds or is interrupted, until the result
    /// is `want`; any other error is reported.
    Until = 4,
    /// Leaves out the next rows, `hop` bytes of them, if the result is
    /// `want`; any other error is reported.
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
    /// The result is the first argument, a process id, as up to seven decimal
    /// digits: bytes in the order of reading, with zeros after them.
    pub(crate) const DECIMAL: u32 = 0x8000_0002;
    /// The result is what an [`Entry`](super::Entry) returns, whose address
    /// is the first argument; the other two are passed on to it.
    pub(crate) const HOOK: u32 = 0x8000_0003;
}

/// A function that the child calls, and what it is called with. Only in
/// engines that run in this process's memory or a copy of it.
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
    /// The slot that takes the result; [`slot::SINK`] if nobody reads it.
    pub(crate) store: u8,
    pub(crate) pad: u8,
    pub(crate) args: [u64; 6],
    /// What [`Check::Equal`], `Until` and `Skip` compare the result with.
    /// With `or`: what goes on after [`Check::Exec`].
    pub(crate) want: u64,
    /// Bits added to the result as it is stored, in the same store.
    pub(crate) or: u64,
    /// This row's own place in the table, counted from 1.
    pub(crate) row: u16,
    /// How much [`Check::Skip`] leaves out: the bytes of so many rows.
    pub(crate) hop: u16,
    /// The place in the plan's list of the step this row belongs to.
    pub(crate) step: u16,
    /// Bit i: `args[i]` is the address of a string in the plan's text.
    pub(crate) texts: u8,
    /// Bit i: `args[i]` is the address of an array in the plan's lists.
    pub(crate) lists: u8,
}

/// The bits of [`Check::Exec`] for error numbers below 128: `want`, `or`.
pub(crate) const fn onward(errnos: &[i32]) -> (u64, u64) {
    let (mut all, mut n) = ([0u64; 2], 0);
    while n < errnos.len() {
        let errno = errnos[n].unsigned_abs();
        all[(errno / 64) as usize] |= 1 << (errno % 64);
        n += 1;
    }
    (all[0], all[1])
}

/// What the launch's own variable is called, with its `=`.
pub(crate) const LISTEN: [u8; 11] = *b"LISTEN_PID=";

/// The length of a row: what the walker adds to go to the next.
pub(crate) const ROW: u16 = 80;

const _: () = assert!(size_of::<Call>() == ROW as usize);
const _: () = assert!(align_of::<Call>() == 8);
const _: () = assert!(offset_of!(Call, nr) == 0);
const _: () = assert!(offset_of!(Call, check) == 4);
const _: () = assert!(offset_of!(Call, slots) == 5);
const _: () = assert!(offset_of!(Call, store) == 6);
const _: () = assert!(offset_of!(Call, hop) == 74);
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
            pad: 0,
            args,
            want: 0,
            or: 0,
            row: 0,
            hop: 0,
            step: 0,
            texts: 0,
            lists: 0,
        }
    }
}

impl Call {
    /// The row as it lies in memory.
    pub(crate) fn bytes(&self) -> [u8; ROW as usize] {
        let mut all = [0; ROW as usize];
        let mut put = |at: usize, bytes: &[u8]| {
            // Byte by byte this is 10 us a row in a debug build.
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
        put(offset_of!(Call, hop), &self.hop.to_le_bytes());
        all
    }
}

/// The numbers of the slots. The launch fills those below [`slot::FREE`].
pub(crate) mod slot {
    /// Takes results that nobody reads.
    pub(crate) const SINK: u8 = 0;
    /// A descriptor that must be gone once the table is our own.
    pub(crate) const PROBE_FD: u8 = 1;
    /// The child's pidfd, if the canary is another descriptor.
    pub(crate) const PIDFD: u8 = 2;
    /// The signal mask of the caller.
    pub(crate) const MASK: u8 = 3;
    /// The first descriptor that no row needs.
    pub(crate) const SOURCE_END: u8 = 4;
    /// The last descriptor below it, 0 if none is above what is kept.
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
    pub(crate) const IDS_AT: u8 = 16;
    pub(crate) const SCRATCH_AT: u8 = 19;
    /// Real, effective and saved id, as the kernel tells them.
    pub(crate) const IDS: u8 = 20;
    /// The open `cgroup.procs` of the group that the child joins.
    pub(crate) const CGROUP: u8 = 23;
    /// Where calls write what the next rows look at.
    pub(crate) const SCRATCH: u8 = 24;
    /// The address of the launch's own environment, if it has one.
    pub(crate) const ENVIRON: u8 = 40;
    /// Two slots that end in the name of its first variable and `=`; the
    /// value follows them: digits, with zeros behind.
    pub(crate) const NAME: u8 = 41;
    pub(crate) const DIGITS: u8 = 43;
    /// The name of a child that has not become its program yet: 16 bytes.
    pub(crate) const COMM: u8 = 44;
    pub(crate) const COMM_AT: u8 = 46;
    /// The parent's capabilities, as `capget` gives them: 24 bytes.
    pub(crate) const CAPS: u8 = 47;
    pub(crate) const CAPS_AT: u8 = 50;
    /// The descriptors of the image, and of the page that it maps.
    pub(crate) const HELPER: u8 = 51;
    pub(crate) const STATUS_PAGE: u8 = 52;
    /// The word of the gate, and its node: a second lock of the robust list,
    /// as far apart as the first, until the child waits there.
    pub(crate) const GATE: u8 = 53;
    pub(crate) const GATE_NODE: u8 = 54;
    pub(crate) const GATE_AT: u8 = 55;
    /// The parent's process id, and the one that the child is told.
    pub(crate) const PARENT: u8 = 56;
    pub(crate) const PARENT_AT: u8 = 57;
    pub(crate) const TOLD: u8 = 58;
    pub(crate) const TOLD_AT: u8 = 59;
    /// The personality that an image is executed in, 0 for the one there is,
    /// and the caller's, which the program has.
    pub(crate) const FLAT: u8 = 60;
    pub(crate) const PERSONALITY: u8 = 61;
    /// A copy of the child's pidfd above the cut, where the pidfd is below.
    pub(crate) const PROBE_COPY: u8 = 62;
    /// The stop signal that was pending in the child and that it has taken,
    /// or an errno.
    pub(crate) const STOP: u8 = 63;
    pub(crate) const STOP_AT: u8 = 64;
    /// What `process_mrelease` of no process gave the child: EBADF, if this
    /// kernel has the call and a filter lets it through. 1 if the child is
    /// not to make it.
    pub(crate) const ENDING: u8 = 65;
    /// Not 0: an image execs in a second thread, which has a robust list of
    /// its own. `SECOND` holds the thread's id, so that the kernel lets go of
    /// it at death only, as exec gives the thread the first one's; `EXECED`,
    /// which holds that id, at exec only; and whoever waits at `BELL`, which
    /// stays 0, is woken at both.
    pub(crate) const APART: u8 = 66;
    pub(crate) const EXECED: u8 = 67;
    pub(crate) const EXECED_NODE: u8 = 68;
    pub(crate) const BELL: u8 = 69;
    /// The thread that comes to the first hook.
    pub(crate) const BEFORE: u8 = 70;
    /// Whose affair the launch is from its hooks on: the thread that has come
    /// through the last of them or has failed in one, whichever is first of
    /// the child and the forks that a hook has made; or nobody's, as the
    /// parent waits no more. Claimed (`sys::claim`), never stored.
    pub(crate) const OWNER: u8 = 71;
    pub(crate) const OWNER_AT: u8 = 72;
    /// Not 0 once that thread goes on from there, and holds the word.
    pub(crate) const AFTER: u8 = 73;
    pub(crate) const SECOND: u8 = 74;
    pub(crate) const SECOND_NODE: u8 = 75;
    pub(crate) const SECOND_HEAD: u8 = 76;
    pub(crate) const SECOND_HEAD_AT: u8 = 79;
    /// 1 until the second thread has gone: the first sleeps here.
    pub(crate) const PEER: u8 = 80;
    pub(crate) const PEER_AT: u8 = 81;
    /// The first that lowering hands out.
    pub(crate) const FREE: u8 = 82;
    /// How many there are.
    pub(crate) const COUNT: u8 = 146;

    /// Those that rows may write, beside the free ones.
    pub(crate) const WRITTEN: [u8; 12] = [
        SINK, WORD, DIGITS, GATE, TOLD, PROBE_COPY, STOP, ENDING, EXECED,
        BEFORE, AFTER, SECOND,
    ];

    const _: () = assert!(GATE_NODE - GATE == NODE - WORD);
    const _: () = assert!(EXECED_NODE - EXECED == NODE - WORD);
    const _: () = assert!(SECOND_NODE - SECOND == NODE - WORD);

    /// Which slots hold the address of which, and how many bytes may be read
    /// or written there.
    pub(crate) const ADDRESSES: [(u8, u8, u64); 15] = [
        (MASK_AT, MASK, 8),
        (HEAD_AT, HEAD, 24),
        (IDS_AT, IDS, 8),
        (IDS_AT + 1, IDS + 1, 8),
        (IDS_AT + 2, IDS + 2, 8),
        (SCRATCH_AT, SCRATCH, 8 * (ENVIRON - SCRATCH) as u64),
        (COMM_AT, COMM, 8 * (COMM_AT - COMM) as u64),
        (CAPS_AT, CAPS, 8 * (CAPS_AT - CAPS) as u64),
        (GATE_AT, GATE, 8 * (GATE_AT - GATE) as u64),
        (PARENT_AT, PARENT, 8),
        (TOLD_AT, TOLD, 8),
        (STOP_AT, STOP, 8),
        (OWNER_AT, OWNER, 8),
        (SECOND_HEAD_AT, SECOND_HEAD, 24),
        (PEER_AT, PEER, 8 * (PEER_AT - PEER + 1) as u64),
    ];
}

/// The word of the gate while the child waits there, and once it may go on.
/// No process has such an id.
pub(crate) mod gate {
    pub(crate) const WAITING: u32 = 0x2000_0000;
    pub(crate) const OPEN: u32 = 0x2000_0001;
}

/// What one launch has of its own: 1,192 bytes on the caller's stack, or in a
/// page that both processes map.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub(crate) struct Block {
    /// The row that was last begun, counted from 1; 0 if none was.
    pub(crate) reached: u32,
    /// The row that failed, counted from 1; 0 if none did.
    pub(crate) failed: u32,
    /// The last candidate that was refused with EACCES, counted likewise.
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
const _: () = assert!(size_of::<Block>() == 1192);

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
