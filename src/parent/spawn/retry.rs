//! Retry: what the failure of an attempt changes in the next. docs/kernels.md
//! has the table of errnos.

use super::attempt::{Attempt, Failure};
use super::changes::{Change, Try};
use super::compiled_plan::CompiledPlan;
use super::diagnose::is_trapped;
use super::fallback::fallback_for;
use super::prepared::Prepared;
use crate::call::{Block, Check, number, slot};
use crate::launch::Outcome;
use crate::parent::command::{Engine, OpenCgroup};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Op, Plan};
use crate::parent::support;
use crate::sys::{CloneCall, CloneFlags, Errno, safe};

/// Steps that only a helper has.
const HELPER_OPS: [Op; 4] =
    [Op::PassHelperFds, Op::ExecHelper, Op::HelperInit, Op::MarkHelper];

/// The calls of a helper for its second thread.
const THREAD_CALLS: [libc::c_long; 4] = [
    libc::SYS_set_tid_address,
    libc::SYS_futex,
    libc::SYS_clone,
    libc::SYS_set_robust_list,
];

const MRELEASE: u32 = number(libc::SYS_process_mrelease);

impl Attempt {
    /// Changes what may help after a failure. `None`: the failure is final.
    #[cold]
    #[inline(never)]
    pub(super) fn after(
        &mut self,
        prepared: &Prepared,
        compiled: &CompiledPlan,
        outcome: Outcome,
        block: &Block,
        group: Option<&OpenCgroup>,
    ) -> Option<Try> {
        let plan = &prepared.plan;
        match outcome {
            Outcome::Rejected(errno) => {
                self.after_clone(prepared, errno.0, group)
            }
            Outcome::Failed { row, result, .. } => {
                self.close_copy(compiled, row, result, block);
                if self.is_of_sibling() {
                    return None;
                }
                self.after_row(plan, compiled, row, result)
            }
            Outcome::Died { .. } if self.is_of_sibling() => None,
            Outcome::Died { row, ended, .. } => {
                let trapped = ended
                    .is_none_or(|ended| ended.signal() == Some(libc::SIGSYS));
                match compiled.row(row).map(|row| row.nr) {
                    Some(MRELEASE) if trapped => self.after_mrelease(),
                    // A call that a filter traps counts as missing.
                    _ if is_trapped(compiled, row, ended) => {
                        let result = -i64::from(libc::ENOSYS);
                        self.after_row(plan, compiled, row, result)
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
        group: Option<&OpenCgroup>,
    ) -> Option<Try> {
        let plan = &prepared.plan;
        let into_group = group.is_some() && !self.strategy.joins_cgroup;
        match (self.strategy.clone_call, errno) {
            (_, libc::EAGAIN) => {
                self.budget.wait_for_process(plan.retry_again)
            }
            (_, libc::EMFILE | libc::ENFILE) => {
                self.after_fd_limit(prepared, errno)
            }
            (CloneCall::Clone3, libc::E2BIG)
                if into_group && plan.any_method =>
            {
                self.strategy.joins_cgroup = true;
                let fallback = ("CLONE_INTO_CGROUP", errno, "cgroup.procs");
                self.change(Change::JoinCgroup, fallback)
            }
            (CloneCall::Clone3, libc::ENOSYS | libc::EPERM)
                if support::clone3_is_blocked(errno) =>
            {
                support::record_missing(|known| known.clone3 = Some(errno));
                self.with_clone(plan, errno)
            }
            // Before Linux 5.5 clone3 has no CLONE_CLEAR_SIGHAND.
            (CloneCall::Clone3, libc::EINVAL) => self.with_clone(plan, errno),
            (CloneCall::Clone, libc::EINVAL) if plan.any_engine => {
                self.with_pipe(plan, errno)
            }
            _ => None,
        }
    }

    /// No number is free for the pidfd. A child with a copy of the descriptor
    /// table needs no probe descriptor, a copied one no status page, and any
    /// child can be waited for by its process id, as std does.
    fn after_fd_limit(
        &mut self,
        prepared: &Prepared,
        errno: i32,
    ) -> Option<Try> {
        if self.probe_fd.take().is_some() {
            return self.without_probe_fd();
        }
        let isolated = self.strategy.engine == Engine::Isolated;
        if isolated && prepared.plan.any_engine {
            prepared.release_cached();
            let again = self.with_copied(&prepared.plan)?;
            self.record_fallback("isolated", errno, "copied");
            return Some(again);
        }
        self.pidfd_optional.then(|| self.without_pidfd(errno)).flatten()
    }

    /// The child gets a copy of the descriptor table, which needs no check.
    fn without_probe_fd(&mut self) -> Option<Try> {
        self.no_probe_fd = true;
        self.flags -= CloneFlags::FILES;
        self.budget.change(Change::NoProbeFd)
    }

    /// Closes the copy of a descriptor that the child made to check that its
    /// table is its own: the check failed, so the copy is in our table.
    fn close_copy(
        &self,
        compiled: &CompiledPlan,
        row: u32,
        result: i64,
        block: &Block,
    ) {
        let shared = self.flags.contains(CloneFlags::FILES);
        let check = compiled.row(row).is_some_and(|row| {
            let copy = row.args.first() == Some(&slot::PROBE_COPY.into());
            copy && row.slots & 1 != 0 && row.check == Check::Equal
        });
        if shared && check && result >= 0 {
            let copy = i32::try_from(block.slot(slot::PROBE_COPY));
            let _ = copy.map(safe::close);
        }
    }

    fn after_row(
        &mut self,
        plan: &Plan,
        compiled: &CompiledPlan,
        row: u32,
        result: i64,
    ) -> Option<Try> {
        let op = compiled.op(plan, row);
        let nr = compiled.row(row).map(|row| row.nr);
        let is = |calls: &[libc::c_long]| {
            nr.is_some_and(|nr| calls.iter().any(|call| number(*call) == nr))
        };
        let robust_list = is(&[libc::SYS_set_robust_list, libc::SYS_gettid]);
        if nr == Some(MRELEASE) {
            return self.after_mrelease();
        }
        if op == Some(Op::MarkHelper) && is(&THREAD_CALLS) {
            // RLIMIT_NPROC or a filter permits no second thread.
            self.exec_in_thread = false;
            return self.budget.change(Change::OneThread);
        }
        let helper = op.is_some_and(|op| HELPER_OPS.contains(&op));
        if helper && plan.any_engine && !robust_list {
            return self.without_helper(plan, nr, Errno::of(result));
        }
        let Errno(errno) = Errno::of(result)?;
        if let Some(downgrade) = fallback_for(plan, compiled, row, errno) {
            let again = self.budget.change(downgrade.change)?;
            if downgrade.change == Change::NoCloseRange
                && errno != libc::EINVAL
            {
                support::record_missing(|known| {
                    known.close_range = Some(errno);
                });
            }
            self.apply(downgrade, errno);
            return Some(again);
        }
        match (op, errno) {
            // No number at `source_end` or above is free for the copy.
            (Some(Op::CloseRange), libc::EMFILE | libc::EINVAL)
                if copies_fd(compiled, row) =>
            {
                self.without_probe_fd()
            }
            (_, libc::ENOSYS | libc::EPERM)
                if robust_list && plan.any_engine =>
            {
                self.with_pipe(plan, errno)
            }
            (_, libc::ETXTBSY) => self.budget.wait_for_writer(),
            _ => None,
        }
    }

    /// process_mrelease only saves time: children of this thread leave it
    /// out from here on. If another thread reaped the child, its status is
    /// unknown, and this is the likely cause.
    fn after_mrelease(&mut self) -> Option<Try> {
        support::record_missing(|known| known.mrelease = true);
        self.budget.change(Change::NoMrelease)
    }

    /// A step that only a helper has failed: the copied engine lacks it.
    fn without_helper(
        &mut self,
        plan: &Plan,
        nr: Option<u32>,
        errno: Option<Errno>,
    ) -> Option<Try> {
        let again = self.with_copied(plan)?;
        let (feature, errno, instead) = match errno {
            None => {
                ("isolated", 0, "copied, as exec changes the capabilities")
            }
            Some(Errno(e)) if nr == Some(number(libc::SYS_execveat)) => {
                ("execveat of the helper", e, "copied")
            }
            Some(Errno(e)) => ("isolated", e, "copied"),
        };
        self.record_fallback(feature, errno, instead);
        Some(again)
    }

    /// Uses the copied engine where no status page or helper image can be
    /// made, if the engine is not fixed.
    #[cold]
    #[inline(never)]
    pub(super) fn fall_back_to_copied(
        &mut self,
        plan: &Plan,
        error: Error,
    ) -> Failure {
        let permitted = error.step() == Step::Image && plan.any_engine;
        let again = permitted.then(|| self.with_copied(plan)).flatten();
        let Some(again) = again else { return error.into() };
        let errno = error.raw_os_error().unwrap_or_default();
        // EBADF: the image is not in this thread's descriptor table.
        let there = errno == libc::EBADF;
        let feature = if there { "isolated" } else { "memfd_create" };
        self.record_fallback(feature, errno, "copied");
        Failure::Retry(again, None)
    }
}

/// Whether a row is `fcntl(F_DUPFD_CLOEXEC)`.
fn copies_fd(compiled: &CompiledPlan, row: u32) -> bool {
    let copy = u64::from(libc::F_DUPFD_CLOEXEC.unsigned_abs());
    let fcntl = number(libc::SYS_fcntl);
    let row = compiled.row(row).filter(|row| row.nr == fcntl);
    row.is_some_and(|row| row.args.get(1) == Some(&copy))
}
