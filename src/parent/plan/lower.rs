//! Lowering: the steps of a plan become rows of system calls. Pure, safe Rust.

use super::Plan;
use super::op::Op;
use super::step::Rows;
use super::strategy::Strategy;
use crate::call::{Call, local, number, slot};
use crate::parent::std::vec::Vec;

/// The rows of a plan in one strategy, in memory that is given. Addresses are
/// still offsets into the plan's string table.
pub(crate) fn lower(
    plan: &Plan,
    strategy: Strategy,
    mut rows: Vec<Call>,
) -> Vec<Call> {
    rows.reserve(if strategy.has_helper() { 36 } else { 12 });
    let looked_for = (0, 0);
    let free = slot::FREE;
    let mut all = Lowering { plan, strategy, rows, free, looked_for };
    let last = plan.steps(strategy).last().map(|(n, _)| n);
    let mut files = 0;
    for (n, record) in plan.steps(strategy) {
        let from = all.rows.len();
        match record.rows {
            Rows::Fixed { from, count } if record.optional => {
                all.copy_optional(from, count);
            }
            Rows::Fixed { from, count } => all.copy(from, count),
            Rows::Lowered(Op::Exec(path)) => {
                if strategy.shell.is_some() {
                    files = plan.nth_candidate(n);
                }
                all.exec((path, files), last == Some(n));
                files += 1;
            }
            Rows::Lowered(op) => all.op(op),
        }
        for row in all.rows.iter_mut().skip(from) {
            row.step = u16::try_from(n).unwrap_or(u16::MAX);
        }
    }
    for (n, row) in (1usize..).zip(&mut all.rows) {
        row.row = u16::try_from(n).unwrap_or_default();
    }
    all.rows
}

/// Turns offsets into addresses.
pub(crate) fn relocate(
    rows: &mut [Call],
    text: u64,
    lists: u64,
    callbacks: u64,
) {
    for row in rows {
        for (i, arg) in row.args.iter_mut().enumerate() {
            if row.texts & (1 << i) != 0 {
                *arg += text;
            } else if row.lists & (1 << i) != 0 {
                *arg += lists;
            } else if row.nr == local::CALLBACK && i == 0 {
                *arg = callbacks + 16 * *arg;
            }
        }
    }
}

/// Rows that are being made, for one strategy of a plan.
pub(super) struct Lowering<'a> {
    pub(super) plan: &'a Plan,
    pub(super) strategy: Strategy,
    pub(super) rows: Vec<Call>,
    free: u8,
    /// The slots with the results of `look_for_files`: the first, and how many.
    pub(super) looked_for: (u8, u8),
}

impl Lowering<'_> {
    pub(super) fn call(
        &mut self,
        nr: libc::c_long,
        args: &[u64],
    ) -> &mut Call {
        self.push(number(nr), args)
    }

    /// A row of [`local`].
    pub(super) fn push(&mut self, nr: u32, args: &[u64]) -> &mut Call {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(args) {
            *to = *from;
        }
        self.rows.push(Call::new(nr, all));
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// Allocates slots for `count` results, fewer if there are not enough: the
    /// first, and how many.
    pub(super) fn results(&mut self, count: usize) -> (u8, u8) {
        let (from, left) = (self.free, slot::COUNT - self.free);
        let count = u8::try_from(count).map_or(left, |n| n.min(left));
        self.free += count;
        (from, count)
    }

    /// Allocates a slot for a result that the parent reads; `SINK` if there is
    /// none left.
    pub(super) fn result(&mut self) -> u8 {
        let slot = self.free;
        if slot >= slot::COUNT {
            return slot::SINK;
        }
        self.free += 1;
        slot
    }

    /// Copies rows that are the same in every strategy, with the numbers of
    /// source descriptors, which are known by now.
    pub(super) fn copy(&mut self, from: u16, count: u16) {
        let from = usize::from(from);
        let rows = self.plan.rows.get(from..from + usize::from(count));
        for row in rows.unwrap_or_default() {
            let mut row = *row;
            for (n, arg) in row.args.iter_mut().enumerate() {
                if row.fds & (1 << n) != 0 {
                    let index = u16::try_from(*arg).unwrap_or(u16::MAX);
                    *arg = self.plan.child_fd(index).into();
                }
            }
            row.fds = 0;
            self.rows.push(row);
        }
    }

    fn op(&mut self, op: Op) {
        match op {
            Op::RobustList => self.robust_list(),
            Op::CloseRange => self.close_range(),
            Op::MarkRange => self.mark_range(),
            Op::Dup { to, source } => self.dup(to, source),
            Op::Close { to } => self.close(to.into()),
            Op::PassHelperFds => self.pass_helper_fds(),
            Op::CloseGaps => self.close_gaps(),
            Op::ExecHelper => self.exec_helper(),
            Op::HelperInit => self.helper_init(),
            Op::ClearHandlers => self.clear_handlers(),
            Op::Gate => self.gate(),
            Op::Hook(n) => self.hook(n),
            Op::Landlock { fd, flags } => self.landlock(fd, flags),
            Op::MarkHelper => self.mark_helper(),
            Op::SignalMask => self.signal_mask(),
            Op::ExecFd(index) => self.exec_fd(index),
            // `lower` does it: it knows which candidate is the last.
            Op::Exec(_) => {}
        }
    }
}
