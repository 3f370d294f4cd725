//! Descriptor steps: what is closed, what is marked close-on-exec, and the
//! rows of these and of `dup3`.

use super::builder::PlanBuilder;
use super::lower::Lowering;
use super::op::{FdSource, Op};
use super::source_fd::SourceFd;
use super::step::Operand;
use super::strategy::Strategy;
use super::{Plan, fds};
use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::error::{Error, Step};
use crate::parent::std::vec::Vec;
use crate::sys::bits;

/// The highest descriptor number that `close_range` takes.
const LAST_FD: u64 = u32::MAX as u64;

/// `CLOSE_RANGE_UNSHARE`: first give the child a table of its own.
const UNSHARE: u64 = 2;

/// `CLOSE_RANGE_CLOEXEC` (Linux 5.11): close at exec.
const MARK: u64 = 4;

/// The indices of the callbacks that close descriptors, or mark them; the
/// plan's hooks follow.
const CLOSER: u64 = 0;
const MARKER: u64 = 1;

/// Whether descriptors stay open until exec: for hooks, which use them, and
/// for this process itself should its exec fail.
fn stays_open(plan: &PlanBuilder<'_>) -> bool {
    plan.in_place() || !plan.options().hooks.child.is_empty()
}

/// `close_range` from 3 up, or above the descriptors that later steps read.
pub(crate) fn close_range(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if plan.options().descriptors.unlisted {
        let why = "the helper image could take the number of one of them";
        plan.needs.copy("inherit_unlisted_fds", why);
    } else if !stays_open(plan) {
        plan.op(Step::CloseRange, Operand::None, Op::CloseRange);
    }
    Ok(())
}

/// `close_range` from 3 up with `CLOSE_RANGE_CLOEXEC`.
pub(crate) fn mark_range(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if stays_open(plan) && !plan.options().descriptors.unlisted {
        let operand = Operand::Label("3.. -> close-on-exec");
        plan.op(Step::CloseRange, operand, Op::MarkRange)
            .note("open until exec");
    }
    Ok(())
}

/// `close_range` of each gap between the descriptors that the child keeps.
pub(crate) fn close_gaps(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if !stays_open(plan) && !plan.options().descriptors.unlisted {
        let operand = Operand::Label("the gaps above 2");
        plan.op(Step::CloseRange, operand, Op::CloseGaps)
            .note("closes what the program does not get");
    }
    Ok(())
}

impl Lowering<'_> {
    /// Closes or marks descriptors one by one, by the list in /proc, where
    /// `close_range` is missing (before Linux 5.9) or rejected.
    fn list(&mut self, callback: u64, from: u64, to: u64) -> &mut Call {
        self.push(local::CALLBACK, &[callback, from, to])
    }

    pub(super) fn mark_range(&mut self) {
        if self.strategy.no_close_range {
            self.list(MARKER, 3, LAST_FD);
        } else {
            self.call(libc::SYS_close_range, &[3, LAST_FD, MARK]);
        }
    }

    /// The second row verifies the first, which a filter can make a call
    /// without effect; what follows would then change the parent's table: the
    /// probe descriptor, which was open above the range's start, is closed.
    ///
    /// Where it is open, it may be the pidfd, at a number below that start
    /// that was free in the parent: then a copy of it above decides.
    pub(super) fn close_range(&mut self) {
        let (slots, end) = source_end(self.plan, self.strategy);
        if self.strategy.no_close_range {
            self.list(CLOSER, end, LAST_FD).slots = slots << 1;
            return;
        }
        let flags = if self.plan.shares(self.strategy) { UNSHARE } else { 0 };
        let args = [end, LAST_FD, flags];
        let getfd = u64::from(libc::F_GETFD.unsigned_abs());
        let copy = u64::from(libc::F_DUPFD_CLOEXEC.unsigned_abs());
        let probe_fd = u64::from(slot::PROBE_FD);
        self.call(libc::SYS_close_range, &args).slots = slots;
        let probed = self.call(libc::SYS_fcntl, &[probe_fd, getfd]);
        probed.slots = 0b1;
        probed.check = Check::Skip;
        probed.want = bits(-i64::from(libc::EBADF));
        probed.skip = 3 * ROW;
        let copy_row = self.call(libc::SYS_fcntl, &[probe_fd, copy, end]);
        copy_row.slots = 0b1 | slots << 2;
        copy_row.store = slot::PROBE_COPY;
        self.call(libc::SYS_close_range, &args).slots = slots;
        let probe = u64::from(slot::PROBE_COPY);
        let probed = self.call(libc::SYS_fcntl, &[probe, getfd]);
        probed.slots = 0b1;
        probed.check = Check::Equal;
        probed.want = bits(-i64::from(libc::EBADF));
    }

    pub(super) fn dup(&mut self, to: u32, source: FdSource) {
        let to_ = u64::from(to);
        let from = match source {
            FdSource::SameAs(from) => u64::from(from),
            FdSource::Fd(index) => u64::from(self.plan.number(index)),
            FdSource::Null | FdSource::Pipe | FdSource::Path(_) => {
                let from = u64::from(slot::STDIO) + to_;
                self.call(libc::SYS_dup3, &[from, to_, 0]).slots = 0b1;
                return;
            }
        };
        if from == to_ {
            let setfd = u64::from(libc::F_SETFD.unsigned_abs());
            self.call(libc::SYS_fcntl, &[to_, setfd, 0]);
        } else {
            self.call(libc::SYS_dup3, &[from, to_, 0]);
        }
    }

    /// In place, exec closes it, and it is still open if exec fails. EBADF, as
    /// it is closed already, is not an error.
    pub(super) fn close(&mut self, to: u64) {
        let row = if self.strategy.in_place {
            let setfd = u64::from(libc::F_SETFD.unsigned_abs());
            let cloexec = u64::from(libc::FD_CLOEXEC.unsigned_abs());
            self.call(libc::SYS_fcntl, &[to, setfd, cloexec])
        } else {
            self.call(libc::SYS_close, &[to])
        };
        row.check = Check::May;
    }

    pub(super) fn close_gaps(&mut self) {
        for (from, to) in fds::gaps(&self.plan.kept(self.strategy)) {
            let from = u64::from(from);
            let last = to.is_none();
            let to = u64::from(to.unwrap_or(slot::LAST_SOURCE.into()));
            if last {
                // Most launches have no source there.
                let some =
                    self.push(local::VALUE, &[slot::LAST_SOURCE.into()]);
                some.slots = 0b1;
                some.check = Check::Skip;
                some.skip = ROW;
            }
            if self.strategy.no_close_range {
                let slots = if last { 0b100 } else { 0 };
                self.list(CLOSER, from, to).slots = slots;
            } else {
                let slots = if last { 0b10 } else { 0 };
                let args = [from, to, 0];
                self.call(libc::SYS_close_range, &args).slots = slots;
            }
        }
    }
}

/// The first number above all that steps read from: a mask of slots, and the
/// slot or the number.
fn source_end(plan: &Plan, strategy: Strategy) -> (u8, u64) {
    if plan.keeps(strategy) {
        (0b1, u64::from(slot::SOURCE_END))
    } else {
        (0, 3)
    }
}

impl Plan {
    /// The numbers of the child's descriptors, in ascending order, 0 to 2
    /// included.
    pub(crate) fn targets(&self) -> Vec<u32> {
        let targets = self.ops().filter_map(|op| match op {
            Op::Dup { to, .. } => Some(to),
            _ => None,
        });
        let opened = self.opened.iter().copied();
        sorted((0..3).chain(targets).chain(opened).collect())
    }

    /// The targets, and the descriptors that stay open until exec.
    pub(crate) fn kept(&self, strategy: Strategy) -> Vec<u32> {
        let kept = self.source_fds.iter().map(SourceFd::child_fd);
        let helper = self.helper_fds.into_iter();
        let helper = helper.filter(|_| strategy.has_helper());
        let kept = kept.chain(helper);
        sorted(self.targets().into_iter().chain(kept).collect())
    }
}

fn sorted(mut all: Vec<u32>) -> Vec<u32> {
    all.sort_unstable();
    all.dedup();
    all
}
