//! Again: what the failure of one try leads to. See the table of errnos in
//! docs/kernels.md.

use super::attempt::Attempt;
use super::changes::{Change, Try};
use super::compiled_plan::CompiledPlan;
use super::diagnose::is_trapped;
use super::fallback::{Downgrade, fallback_for};
use super::prepared::{Failure, Prepared};
use crate::call::{Block, Check, number, slot};
use crate::launch::Outcome;
use crate::parent::command::cgroup::Group;
use crate::parent::command::method::Engine;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Op;
use crate::parent::support;
use crate::sys::{CloneCall, CloneFlags, Errno, safe};

const MRELEASE: u32 = number(libc::SYS_process_mrelease);

impl Attempt {
    /// Changes what can be changed after a failure; nothing, if the spawn has
    /// failed for good.
    #[cold]
    #[inline(never)]
    pub(super) fn after(
        &mut self,
        prepared: &Prepared,
        compiled: &CompiledPlan,
        made: Outcome,
        block: &Block,
        group: Option<&Group>,
    ) -> Option<Try> {
        match made {
            Outcome::Refused(errno) => {
                self.after_clone(prepared, errno.0, group)
            }
            Outcome::Failed { row, result, .. } => {
                self.close_copy(compiled, row, result, block);
                self.after_row(prepared, compiled, row, result)
            }
            Outcome::Died { row, ended, .. } => {
                let trapped = ended
                    .is_none_or(|ended| ended.signal() == Some(libc::SIGSYS));
                match compiled.row(row).map(|row| row.nr) {
                    Some(MRELEASE) if trapped => self.after_mrelease(),
                    // A call that a filter traps is missing.
                    _ if is_trapped(compiled, row, ended) => {
                        let result = -i64::from(libc::ENOSYS);
                        self.after_row(prepared, compiled, row, result)
                    }
                    _ => None,
                }
            }
            Outcome::Running { .. } | Outcome::Stopped { .. } => None,
        }
    }

    fn after_clone(
        &mut self,
        prepared: &Prepared,
        errno: i32,
        group: Option<&Group>,
    ) -> Option<Try> {
        let born = group.is_some() && !self.strategy.joins_cgroup;
        match (self.strategy.clone_call, errno) {
            (_, libc::EMFILE | libc::ENFILE) => self.full(prepared, errno),
            (CloneCall::Clone3, libc::E2BIG) if born => {
                if !prepared.plan.any_method {
                    return None;
                }
                let again = self.budget.change(Change::Join)?;
                self.record_fallback("CLONE_INTO_CGROUP", errno, "a write");
                self.strategy.joins_cgroup = true;
                Some(again)
            }
            (CloneCall::Clone3, libc::ENOSYS | libc::EPERM) => {
                if !support::clone3_is_blocked(errno) {
                    return None;
                }
                support::note(|refused| refused.clone3 = Some(errno));
                self.legacy(prepared, errno)
            }
            // Before Linux 5.5 clone3 has no CLONE_CLEAR_SIGHAND.
            (CloneCall::Clone3, libc::EINVAL) => self.legacy(prepared, errno),
            (CloneCall::Clone, libc::EINVAL) if prepared.plan.any_engine => {
                self.piped(prepared, errno)
            }
            _ => None,
        }
    }

    /// No number is free for the pidfd. A child with a copy of the table can
    /// do without a descriptor of ours as the proof; a copied one without a
    /// page; and any one without a pidfd, as std's.
    fn full(&mut self, prepared: &Prepared, errno: i32) -> Option<Try> {
        if self.probe_fd.take().is_some() {
            self.bare = true;
            self.flags -= CloneFlags::FILES;
            return self.budget.change(Change::NoProbeFd);
        }
        let isolated = self.strategy.engine == Engine::Isolated;
        if isolated && prepared.plan.any_engine {
            prepared.release_cached();
            let again = self.copied(prepared)?;
            self.record_fallback("isolated", errno, "copied");
            return Some(again);
        }
        if !self.may_lack_pidfd {
            return None;
        }
        self.without_pidfd(errno)
    }

    pub(super) fn without_pidfd(&mut self, errno: i32) -> Option<Try> {
        let again = self.budget.change(Change::NoPidfd)?;
        self.record_fallback("CLONE_PIDFD", errno, "the process id");
        self.pidfd = false;
        Some(again)
    }

    /// Where the proof of the table made a copy and the table is ours after
    /// all, the copy is ours too, and nobody else knows its number.
    fn close_copy(
        &self,
        compiled: &CompiledPlan,
        row: u32,
        result: i64,
        block: &Block,
    ) {
        let shared = self.flags.contains(CloneFlags::FILES);
        let proof = compiled.row(row).is_some_and(|row| {
            let copy = row.args.first() == Some(&slot::PROBE_COPY.into());
            copy && row.slots & 1 != 0 && row.check == Check::Equal
        });
        if shared && proof && result >= 0 {
            let copy = i32::try_from(block.slot(slot::PROBE_COPY));
            let _ = copy.map(safe::close);
        }
    }

    fn after_row(
        &mut self,
        prepared: &Prepared,
        compiled: &CompiledPlan,
        row: u32,
        result: i64,
    ) -> Option<Try> {
        let plan = &prepared.plan;
        let op = compiled.op(plan, row);
        let nr = compiled.row(row).map(|row| row.nr);
        let watches = [libc::SYS_set_robust_list, libc::SYS_gettid];
        let watches = nr.is_some_and(|nr| watches.map(number).contains(&nr));
        if nr == Some(MRELEASE) {
            return self.after_mrelease();
        }
        let thread = [
            libc::SYS_set_tid_address,
            libc::SYS_futex,
            libc::SYS_clone,
            libc::SYS_set_robust_list,
        ];
        let thread = nr.is_some_and(|nr| thread.map(number).contains(&nr));
        if thread && op == Some(Op::MarkHelper) {
            // No second thread may be made (RLIMIT_NPROC, a filter).
            self.apart = false;
            return self.budget.change(Change::OneThread);
        }
        let own = matches!(
            op,
            Some(
                Op::PassHelperFds
                    | Op::ExecHelper
                    | Op::HelperInit
                    | Op::MarkHelper
            )
        );
        if own && plan.any_engine && !watches {
            return self.no_helper(prepared, nr, Errno::of(result));
        }
        let Errno(errno) = Errno::of(result)?;
        if let Some(downgrade) = fallback_for(plan, compiled, row, errno) {
            let again = self.budget.change(downgrade.change)?;
            if downgrade.change == Change::NoCloseRange
                && errno != libc::EINVAL
            {
                support::note(|known| known.close_range = Some(errno));
            }
            self.take(downgrade, errno);
            return Some(again);
        }
        match (op, errno) {
            // There is no number above the cut for a copy of the pidfd.
            (Some(Op::CloseRange), libc::EMFILE | libc::EINVAL)
                if copies(compiled, row) =>
            {
                self.bare = true;
                self.flags -= CloneFlags::FILES;
                self.budget.change(Change::NoProbeFd)
            }
            (_, libc::ENOSYS | libc::EPERM) if watches && plan.any_engine => {
                self.piped(prepared, errno)
            }
            (_, libc::ETXTBSY) => self.budget.wait_for_writer(),
            _ => None,
        }
    }

    /// The child died of a call that is made for speed only: this thread's
    /// children do without it from here on. Another thread may have taken
    /// the status that says so.
    fn after_mrelease(&mut self) -> Option<Try> {
        support::note(|refused| refused.mrelease = true);
        self.budget.change(Change::NoMrelease)
    }

    /// A copied child makes no such call.
    fn no_helper(
        &mut self,
        prepared: &Prepared,
        nr: Option<u32>,
        errno: Option<Errno>,
    ) -> Option<Try> {
        let again = self.copied(prepared)?;
        let execveat = Some(number(libc::SYS_execveat));
        match errno {
            // What the image may do is not what the parent may.
            None => {
                let why = "copied, as exec changes the capabilities";
                self.record_fallback("isolated", 0, why);
            }
            Some(Errno(errno)) if nr == execveat => {
                self.record_fallback("execveat of an image", errno, "copied");
            }
            // Its steps are told by the plan, which displays.
            Some(Errno(errno)) => {
                self.record_fallback("isolated", errno, "copied")
            }
        }
        Some(again)
    }

    /// Without a page or an image this launch has a copied child, if anybody
    /// may choose.
    #[cold]
    #[inline(never)]
    pub(super) fn fall_back_to_copied(
        &mut self,
        prepared: &Prepared,
        error: Error,
    ) -> Failure {
        if error.step() != Step::Image || !prepared.plan.any_engine {
            return error.into();
        }
        let Some(again) = self.copied(prepared) else {
            return error.into();
        };
        let errno = error.raw_os_error().unwrap_or_default();
        // The image of another thread's table.
        let there = errno == libc::EBADF;
        let feature = if there { "isolated" } else { "memfd_create" };
        self.record_fallback(feature, errno, "copied");
        Failure::Once(again, None)
    }

    pub(super) fn take(&mut self, downgrade: Downgrade, errno: i32) {
        self.record_fallback(downgrade.feature, errno, downgrade.instead);
        self.strategy = downgrade.strategy;
        if self.strategy.no_close_range {
            self.flags -= CloneFlags::FILES;
        }
    }

    /// clone instead of clone3, if anybody may choose. Nothing asked for is
    /// dropped: only clone3 has set_tid.
    pub(super) fn legacy(
        &mut self,
        prepared: &Prepared,
        errno: i32,
    ) -> Option<Try> {
        let plan = &prepared.plan;
        let clone3 = self.strategy.clone_call == CloneCall::Clone3;
        if !clone3 || !plan.any_method || !plan.set_tid.is_empty() {
            return None;
        }
        if support::valgrind() && plan.any_engine {
            return self.piped(prepared, errno);
        }
        let again = self.budget.change(Change::Legacy)?;
        self.record_fallback("clone3", errno, "clone");
        self.strategy.clone_call = CloneCall::Clone;
        self.strategy.joins_cgroup = plan.cgroup.is_some();
        Some(again)
    }

    /// With what a debugger needs to see: that it is a vfork, or, where the
    /// caller must not sleep until exec, a fork.
    pub(super) fn copied(&mut self, prepared: &Prepared) -> Option<Try> {
        let again = self.budget.change(Change::Copied)?;
        self.strategy.engine = Engine::Copied;
        self.flags = CloneFlags::empty();
        self.show_to_debugger(prepared);
        Some(again)
    }

    pub(super) fn show_to_debugger(&mut self, prepared: &Prepared) {
        if support::traced() {
            if prepared.plan.parent_hooks.is_empty() {
                self.flags = CloneFlags::VFORK;
            } else if prepared.plan.set_tid.is_empty() {
                self.record_fallback(
                    "copied",
                    0,
                    "a plain clone, as a debugger looks",
                );
                self.plain(prepared);
            }
        }
    }

    /// Only clone3 has set_tid.
    fn piped(&mut self, prepared: &Prepared, errno: i32) -> Option<Try> {
        if !prepared.plan.set_tid.is_empty() {
            return None;
        }
        let again = self.budget.change(Change::Plain)?;
        self.record_fallback("clone flags", errno, "a plain clone");
        self.plain(prepared);
        Some(again)
    }

    fn plain(&mut self, prepared: &Prepared) {
        self.strategy.engine = Engine::Pipe;
        self.strategy.clone_call = CloneCall::Clone;
        self.strategy.joins_cgroup = prepared.plan.cgroup.is_some();
        self.flags = CloneFlags::empty();
    }
}

/// Whether a row copies the pidfd.
fn copies(compiled: &CompiledPlan, row: u32) -> bool {
    let copy = u64::from(libc::F_DUPFD_CLOEXEC.unsigned_abs());
    let fcntl = number(libc::SYS_fcntl);
    let row = compiled.row(row).filter(|row| row.nr == fcntl);
    row.is_some_and(|row| row.args.get(1) == Some(&copy))
}
