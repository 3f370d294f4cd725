//! Helper steps: the child executes the helper image, which runs the rest of
//! the steps in memory of its own.

use super::builder::PlanBuilder;
use super::fixed_strings;
use super::lower::Lowering;
use super::op::Op;
use super::step::Operand;
use super::strategy::Strategy;
use crate::call::{Check, ROW, local, slot};
use crate::parent::command::Engine;
use crate::parent::error::{Error, Step};
use crate::sys::abi::{
    CAPS_SIZE, FUTEX_WAITERS, ROBUST_HEAD_SIZE, THREAD_FLAGS,
};
use crate::sys::bits;

/// The kernel wakes the parent at exec or death.
pub(crate) fn robust_list(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let operand = Operand::Label("one futex");
    plan.op(Step::RobustList, operand, Op::RobustList)
        .note("the parent wakes at exec or death")
        .runs(|s| s.engine == Engine::Copied && !s.in_place);
    Ok(())
}

/// `dup3` of the helper image and the status page to fixed numbers.
pub(crate) fn pass_helper_fds(
    plan: &mut PlanBuilder<'_>,
) -> Result<(), Error> {
    let note = "the helper image and the status page";
    helper_step(plan, Op::PassHelperFds, "dup3", "two descriptors", note)
}

/// `execveat` of the helper image, which runs the rest.
pub(crate) fn exec_helper(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let note = "runs the rest, in memory of its own";
    helper_step(plan, Op::ExecHelper, "execveat", "helper image", note)
}

/// `set_robust_list` again, as exec has cleared it; then the helper verifies
/// that its capabilities are those of the parent.
pub(crate) fn helper_init(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let note = "the parent wakes at exec or death";
    helper_step(plan, Op::HelperInit, "set_robust_list", "one futex", note)
}

/// `prctl`: a name and a flag that the exec of the program resets.
pub(crate) fn mark_helper(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let what = "PR_SET_DUMPABLE, NAME";
    helper_step(plan, Op::MarkHelper, "prctl", what, "exec resets both")
}

fn helper_step(
    plan: &mut PlanBuilder<'_>,
    op: Op,
    call: &'static str,
    what: &'static str,
    note: &'static str,
) -> Result<(), Error> {
    let step = plan.op(Step::Image, Operand::Label(what), op);
    step.shown_as(call).note(note).runs(Strategy::has_helper);
    Ok(())
}

impl Lowering<'_> {
    pub(super) fn robust_list(&mut self) {
        self.register();
        if !self.plan.parent_hooks.is_empty() {
            self.own_gate();
        }
    }

    /// The kernel wakes the parent at this process's exec or death.
    pub(super) fn register(&mut self) {
        let head = u64::from(slot::ROBUST_HEAD_ADDR);
        let args = [head, ROBUST_HEAD_SIZE];
        self.call(libc::SYS_set_robust_list, &args).slots = 0b1;
        let taken = self.call(libc::SYS_gettid, &[]);
        taken.store = slot::ROBUST_FUTEX;
        taken.or = FUTEX_WAITERS;
    }

    pub(super) fn pass_helper_fds(&mut self) {
        let [page, image] = self.plan.helper_fds.map(u64::from);
        let cloexec = u64::from(libc::O_CLOEXEC.unsigned_abs());
        for (slot, to, flags) in
            [(slot::STATUS_PAGE, page, 0), (slot::HELPER, image, cloexec)]
        {
            let args = [u64::from(slot), to, flags];
            self.call(libc::SYS_dup3, &args).slots = 0b1;
        }
        self.mark_kept(0);
    }

    pub(super) fn exec_helper(&mut self) {
        let empty = u64::from(fixed_strings::ZEROS.start);
        let (argv, envp) = self.plan.helper_lists;
        let flags = u64::from(libc::AT_EMPTY_PATH.unsigned_abs());
        let image = u64::from(self.plan.helper_fds[1]);
        self.personality(slot::HELPER_PERSONALITY);
        let args = [image, empty, argv, envp, flags];
        let row = self.call(libc::SYS_execveat, &args);
        (row.texts, row.lists) = (0b0010, 0b1100);
        row.must_not_return();
    }

    /// With ADDR_NO_RANDOMIZE the exec of the helper does not move the stack
    /// that it has just filled, which saves 5 us. The helper restores the
    /// caller's personality for the program.
    fn personality(&mut self, of: u8) {
        let flat = self.push(local::VALUE, &[slot::HELPER_PERSONALITY.into()]);
        flat.slots = 0b1;
        flat.check = Check::Skip;
        flat.skip = ROW;
        self.call(libc::SYS_personality, &[of.into()]).slots = 0b1;
    }

    pub(super) fn helper_init(&mut self) {
        self.robust_list();
        self.personality(slot::PERSONALITY);
        let [page, _] = self.plan.helper_fds.map(u64::from);
        self.try_mrelease();
        self.call(libc::SYS_close, &[page]);
        self.mark_kept(u64::from(libc::FD_CLOEXEC.unsigned_abs()));
        let header = u64::from(self.plan.caps_header.start);
        let scratch = u64::from(slot::SCRATCH_ADDR);
        let read = self.call(libc::SYS_capget, &[header, scratch]);
        (read.texts, read.slots) = (0b01, 0b10);
        let args = [scratch, u64::from(slot::CAPS_ADDR), CAPS_SIZE];
        let same = self.push(local::COMPARE, &args);
        same.slots = 0b11;
        same.check = Check::Equal;
    }

    /// Executes the program in a second thread, if the parent has to tell exec
    /// from death reliably; docs/gotchas.md has the cost.
    ///
    /// The first thread sleeps until exec ends it: `/proc/self` and `/dev/fd`
    /// refer to it, and exec looks up its files there. A filter may kill the
    /// second thread alone; then the first continues, and is killed at the
    /// same call. Calls that both threads need are made once before, so that
    /// they cannot fail in one thread only.
    fn exec_in_second_thread(&mut self) {
        let peer = u64::from(slot::CLEAR_TID_ADDR);
        let wait = u64::from(libc::FUTEX_WAIT.unsigned_abs());
        let other = bits(-i64::from(libc::EAGAIN));
        let wanted = self.push(local::VALUE, &[slot::EXEC_IN_THREAD.into()]);
        wanted.slots = 0b1;
        wanted.check = Check::Skip;
        wanted.skip = 8 * ROW;
        self.call(libc::SYS_set_tid_address, &[peer]).slots = 0b1;
        let has_wait = self.call(libc::SYS_futex, &[peer, wait, 0]);
        has_wait.slots = 0b1;
        has_wait.check = Check::Equal;
        has_wait.want = other;
        let second = self.call(libc::SYS_clone, &[THREAD_FLAGS]);
        second.check = Check::Skip;
        second.skip = 2 * ROW;
        let sleeps = self.call(libc::SYS_futex, &[peer, wait, 1]);
        sleeps.slots = 0b1;
        sleeps.check = Check::Until;
        sleeps.want = other;
        let alone = self.push(local::VALUE, &[0]);
        alone.check = Check::Skip;
        alone.skip = 3 * ROW;
        let head = u64::from(slot::THREAD_HEAD_ADDR);
        let args = [head, ROBUST_HEAD_SIZE];
        self.call(libc::SYS_set_robust_list, &args).slots = 0b1;
        // exec gives the second thread the id of the first.
        let taken = self.push(local::VALUE, &[slot::ROBUST_FUTEX.into()]);
        taken.slots = 0b1;
        taken.store = slot::EXEC_FUTEX;
        // Last: from here on the parent sees the death of the second thread.
        let own = self.call(libc::SYS_set_tid_address, &[peer]);
        own.slots = 0b1;
        own.store = slot::THREAD_FUTEX;
        own.or = FUTEX_WAITERS;
    }

    /// Tries the call that the parent makes later: a seccomp filter, which the
    /// two have in common, may kill the caller for it.
    fn try_mrelease(&mut self) {
        let known = self.push(local::VALUE, &[slot::MRELEASE.into()]);
        known.slots = 0b1;
        known.check = Check::Skip;
        known.want = 1;
        known.skip = ROW;
        let no_process = bits(-1);
        let mrelease = self.call(libc::SYS_process_mrelease, &[no_process, 0]);
        mrelease.check = Check::May;
        mrelease.store = slot::MRELEASE;
    }

    /// Sets or clears close-on-exec of what stays open until the last exec.
    fn mark_kept(&mut self, flag: u64) {
        let setfd = u64::from(libc::F_SETFD.unsigned_abs());
        let plan = self.plan;
        let kept = plan.source_fds.iter().filter(|fd| fd.target.is_none());
        for fd in kept {
            let args = [u64::from(fd.child_fd()), setfd, flag];
            self.call(libc::SYS_fcntl, &args);
        }
    }

    /// Sets a random name and clears the dumpable flag. The exec of the program
    /// resets both, so the parent can see in /proc whether it has happened.
    pub(super) fn mark_helper(&mut self) {
        // Without CAP_SYS_PTRACE the parent could not take the listener.
        if !self.plan.listener {
            let option = u64::from(libc::PR_SET_DUMPABLE.unsigned_abs());
            self.call(libc::SYS_prctl, &[option, 0]);
        }
        let option = u64::from(libc::PR_SET_NAME.unsigned_abs());
        let args = [option, u64::from(slot::COMM_ADDR)];
        self.call(libc::SYS_prctl, &args).slots = 0b10;
        if self.plan.may_exec_in_thread() {
            self.exec_in_second_thread();
        }
    }
}
