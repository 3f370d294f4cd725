//! Lowering: steps become rows of system calls. Pure, safe Rust.

use crate::call::{Call, Check, number, slot};
use crate::op::{Op, Str};
use crate::parent::std::vec::Vec;
use crate::sys::abi::{FUTEX_WAITERS, ROBUST_HEAD_SIZE, SIGSET_SIZE};
use crate::sys::bits;

use super::Plan;
use super::words::Words;

/// The highest descriptor number that `close_range` takes.
const LAST_FD: u64 = u32::MAX as u64;

/// `CLOSE_RANGE_UNSHARE`: first give the child a table of its own.
const UNSHARE: u64 = 2;

/// The rows of a plan. Addresses are still places in the plan's words.
pub(crate) fn lower(plan: &Plan) -> Vec<Call> {
    let mut rows = Rows { rows: Vec::with_capacity(8), free: slot::FREE };
    let last = plan.ops.len().saturating_sub(1);
    for (n, op) in plan.ops.iter().enumerate() {
        let from = rows.rows.len();
        rows.step(*op, &plan.words, n == last);
        for row in rows.rows.iter_mut().skip(from) {
            row.step = u16::try_from(n).unwrap_or(u16::MAX);
        }
    }
    for (n, row) in (1usize..).zip(&mut rows.rows) {
        row.row = u16::try_from(n).unwrap_or_default();
    }
    rows.rows
}

/// Turns places into addresses.
pub(crate) fn bind(rows: &mut [Call], text: u64, lists: u64) {
    for row in rows {
        for (i, arg) in row.args.iter_mut().enumerate() {
            if row.texts & (1 << i) != 0 {
                *arg += text;
            } else if row.lists & (1 << i) != 0 {
                *arg += lists;
            }
        }
    }
}

struct Rows {
    rows: Vec<Call>,
    free: u8,
}

impl Rows {
    fn call(&mut self, nr: libc::c_long, args: &[u64]) -> &mut Call {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(args) {
            *to = *from;
        }
        self.rows.push(Call::new(number(nr), all));
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// A slot for a result that the parent reads; once they are used up,
    /// the one that nobody reads.
    fn result(&mut self) -> u8 {
        let slot = self.free;
        if slot >= slot::COUNT {
            return slot::SINK;
        }
        self.free += 1;
        slot
    }

    fn step(&mut self, op: Op, words: &Words, last: bool) {
        match op {
            Op::Watch => self.watch(),
            Op::CloseRange { share, kept } => self.close_range(share, kept),
            Op::Dup { to, .. } => self.dup(to),
            Op::CloseGaps => self.close_gaps(),
            Op::Chdir(path) => self.chdir(path),
            Op::DefaultSignal(signal) => self.default_signal(signal),
            Op::SignalMask => self.signal_mask(),
            Op::Exec(path) => self.exec(path, words.envp(), last),
        }
    }

    fn watch(&mut self) {
        let head = u64::from(slot::HEAD_AT);
        let args = [head, ROBUST_HEAD_SIZE];
        self.call(libc::SYS_set_robust_list, &args).slots = 0b1;
        let taken = self.call(libc::SYS_gettid, &[]);
        taken.store = slot::WORD;
        taken.or = FUTEX_WAITERS;
    }

    /// The second row proves the first (a filter can make it a call without
    /// effect, and then what follows would edit the parent's descriptors):
    /// a descriptor known to be open above the cut is no longer there.
    fn close_range(&mut self, share: bool, kept: bool) {
        let flags = if share { UNSHARE } else { 0 };
        let cut = if kept { u64::from(slot::CUT) } else { 3 };
        let args = [cut, LAST_FD, flags];
        self.call(libc::SYS_close_range, &args).slots = u8::from(kept);
        let getfd = u64::from(libc::F_GETFD.unsigned_abs());
        let canary = u64::from(slot::CANARY);
        let proof = self.call(libc::SYS_fcntl, &[canary, getfd]);
        proof.slots = 0b1;
        proof.check = Check::Equal;
        proof.want = bits(-i64::from(libc::EBADF));
    }

    fn dup(&mut self, to: u8) {
        let from = u64::from(slot::STDIO + to);
        let args = [from, u64::from(to), 0];
        self.call(libc::SYS_dup3, &args).slots = 0b1;
    }

    fn close_gaps(&mut self) {
        let args = [3, u64::from(slot::LAST), 0];
        self.call(libc::SYS_close_range, &args).slots = 0b10;
    }

    fn chdir(&mut self, path: Str) {
        let args = [u64::from(path.start)];
        self.call(libc::SYS_chdir, &args).texts = 0b1;
    }

    fn default_signal(&mut self, signal: u8) {
        let zeros = u64::from(Words::ZEROS.start);
        let args = [u64::from(signal), zeros, 0, SIGSET_SIZE];
        self.call(libc::SYS_rt_sigaction, &args).texts = 0b10;
    }

    fn signal_mask(&mut self) {
        let how = u64::from(libc::SIG_SETMASK.unsigned_abs());
        let args = [how, u64::from(slot::MASK_AT), 0, SIGSET_SIZE];
        self.call(libc::SYS_rt_sigprocmask, &args).slots = 0b10;
    }

    fn exec(&mut self, path: Str, envp: u64, last: bool) {
        let store = self.result();
        let args = [u64::from(path.start), 0, envp];
        let row = self.call(libc::SYS_execve, &args);
        row.texts = 0b001;
        row.lists = 0b110;
        row.store = store;
        row.check = if last { Check::Must } else { Check::Exec };
    }
}
