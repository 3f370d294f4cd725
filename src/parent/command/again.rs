//! Again: what the failure of one try leads to. See the table of errnos in
//! docs/kernels.md.

use super::attempt::Attempt;
use super::blame::is_trapped;
use super::changes::{Change, Try};
use super::lesser::{Lesser, lesser};
use super::lowered::Lowered;
use super::prepared::{Failure, Prepared};
use crate::call::{Block, Check, number, slot};
use crate::launch::Made;
use crate::op::Op;
use crate::parent::cgroup::Group;
use crate::parent::error::{Error, Step};
use crate::parent::kernel;
use crate::parent::plan::method::Engine;
use crate::sys::{CloneFlags, Errno, Maker, safe};

const MRELEASE: u32 = number(libc::SYS_process_mrelease);

impl Attempt {
    /// Changes what can be changed after a failure; nothing, if the spawn has
    /// failed for good.
    #[cold]
    #[inline(never)]
    pub(super) fn after(
        &mut self,
        prepared: &Prepared,
        lowered: &Lowered,
        made: Made,
        block: &Block,
        group: Option<&Group>,
    ) -> Option<Try> {
        match made {
            Made::Refused(errno) => self.after_clone(prepared, errno.0, group),
            Made::Failed { row, result, .. } => {
                self.close_copy(lowered, row, result, block);
                self.after_row(prepared, lowered, row, result)
            }
            Made::Died { row, ended, .. } => {
                let trapped = ended
                    .is_none_or(|ended| ended.signal() == Some(libc::SIGSYS));
                match lowered.row(row).map(|row| row.nr) {
                    Some(MRELEASE) if trapped => self.after_ask(),
                    // A call that a filter traps is missing.
                    _ if is_trapped(lowered, row, ended) => {
                        let result = -i64::from(libc::ENOSYS);
                        self.after_row(prepared, lowered, row, result)
                    }
                    _ => None,
                }
            }
            Made::Running { .. } | Made::Stopped { .. } => None,
        }
    }

    fn after_clone(
        &mut self,
        prepared: &Prepared,
        errno: i32,
        group: Option<&Group>,
    ) -> Option<Try> {
        let born = group.is_some() && !self.shape.join;
        match (self.shape.maker, errno) {
            (_, libc::EMFILE | libc::ENFILE) => self.full(prepared, errno),
            (Maker::Clone3, libc::E2BIG) if born => {
                if !prepared.plan.any_method {
                    return None;
                }
                let again = self.budget.change(Change::Join)?;
                self.told_of("CLONE_INTO_CGROUP", errno, "a write");
                self.shape.join = true;
                Some(again)
            }
            (Maker::Clone3, libc::ENOSYS | libc::EPERM) => {
                if !kernel::clone3_is_blocked(errno) {
                    return None;
                }
                kernel::note(|refused| refused.clone3 = Some(errno));
                self.legacy(prepared, errno)
            }
            // Before Linux 5.5 clone3 has no CLONE_CLEAR_SIGHAND.
            (Maker::Clone3, libc::EINVAL) => self.legacy(prepared, errno),
            (Maker::Clone, libc::EINVAL) if prepared.plan.any_engine => {
                self.piped(prepared, errno)
            }
            _ => None,
        }
    }

    /// No number is free for the pidfd. A child with a copy of the table can
    /// do without a descriptor of ours as the proof; a copied one without a
    /// page; and any one without a pidfd, as std's.
    fn full(&mut self, prepared: &Prepared, errno: i32) -> Option<Try> {
        if self.canary.take().is_some() {
            self.bare = true;
            self.flags -= CloneFlags::FILES;
            return self.budget.change(Change::NoProbe);
        }
        let isolated = self.shape.engine == Engine::Isolated;
        if isolated && prepared.plan.any_engine {
            prepared.let_go();
            let again = self.copied(prepared)?;
            self.told_of("isolated", errno, "copied");
            return Some(again);
        }
        if !self.may_lack_pidfd {
            return None;
        }
        self.without_pidfd(errno)
    }

    pub(super) fn without_pidfd(&mut self, errno: i32) -> Option<Try> {
        let again = self.budget.change(Change::NoPidfd)?;
        self.told_of("CLONE_PIDFD", errno, "the process id");
        self.pidfd = false;
        Some(again)
    }

    /// Where the proof of the table made a copy and the table is ours after
    /// all, the copy is ours too, and nobody else knows its number.
    fn close_copy(
        &self,
        lowered: &Lowered,
        row: u32,
        result: i64,
        block: &Block,
    ) {
        let shared = self.flags.contains(CloneFlags::FILES);
        let proof = lowered.row(row).is_some_and(|row| {
            let copy = row.args.first() == Some(&slot::PROBE.into());
            copy && row.slots & 1 != 0 && row.check == Check::Equal
        });
        if shared && proof && result >= 0 {
            let copy = i32::try_from(block.slot(slot::PROBE));
            let _ = copy.map(safe::close);
        }
    }

    fn after_row(
        &mut self,
        prepared: &Prepared,
        lowered: &Lowered,
        row: u32,
        result: i64,
    ) -> Option<Try> {
        let plan = &prepared.plan;
        let op = lowered.op(plan, row);
        let nr = lowered.row(row).map(|row| row.nr);
        let watches = [libc::SYS_set_robust_list, libc::SYS_gettid];
        let watches = nr.is_some_and(|nr| watches.map(number).contains(&nr));
        if nr == Some(MRELEASE) {
            return self.after_ask();
        }
        let thread = [
            libc::SYS_set_tid_address,
            libc::SYS_futex,
            libc::SYS_clone,
            libc::SYS_set_robust_list,
        ];
        let thread = nr.is_some_and(|nr| thread.map(number).contains(&nr));
        if thread && op == Some(Op::Name) {
            // No second thread may be made (RLIMIT_NPROC, a filter).
            self.apart = false;
            return self.budget.change(Change::OneThread);
        }
        let own =
            matches!(op, Some(Op::Lend | Op::Enter | Op::Arrive | Op::Name));
        if own && plan.any_engine && !watches {
            return self.unimaged(prepared, nr, Errno::of(result));
        }
        let Errno(errno) = Errno::of(result)?;
        if let Some(lesser) = lesser(plan, lowered, row, errno) {
            let again = self.budget.change(lesser.change)?;
            if lesser.change == Change::Listed && errno != libc::EINVAL {
                kernel::note(|known| known.close_range = Some(errno));
            }
            self.take(lesser, errno);
            return Some(again);
        }
        match (op, errno) {
            // There is no number above the cut for a copy of the pidfd.
            (Some(Op::CloseRange), libc::EMFILE | libc::EINVAL)
                if copies(lowered, row) =>
            {
                self.bare = true;
                self.flags -= CloneFlags::FILES;
                self.budget.change(Change::NoProbe)
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
    fn after_ask(&mut self) -> Option<Try> {
        kernel::note(|refused| refused.mrelease = true);
        self.budget.change(Change::Unasked)
    }

    /// A copied child makes no such call.
    fn unimaged(
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
                self.told_of("isolated", 0, why);
            }
            Some(Errno(errno)) if nr == execveat => {
                self.told_of("execveat of an image", errno, "copied");
            }
            // Its steps are told by the plan, which displays.
            Some(Errno(errno)) => self.told_of("isolated", errno, "copied"),
        }
        Some(again)
    }

    /// Without a page or an image this launch has a copied child, if anybody
    /// may choose.
    #[cold]
    #[inline(never)]
    pub(super) fn does_without(
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
        self.told_of(feature, errno, "copied");
        Failure::Once(again, None)
    }

    pub(super) fn take(&mut self, lesser: Lesser, errno: i32) {
        self.told_of(lesser.feature, errno, lesser.instead);
        self.shape = lesser.shape;
        if self.shape.listed {
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
        let clone3 = self.shape.maker == Maker::Clone3;
        if !clone3 || !plan.any_method || !plan.set_tid.is_empty() {
            return None;
        }
        if kernel::valgrind() && plan.any_engine {
            return self.piped(prepared, errno);
        }
        let again = self.budget.change(Change::Legacy)?;
        self.told_of("clone3", errno, "clone");
        self.shape.maker = Maker::Clone;
        self.shape.join = plan.cgroup.is_some();
        Some(again)
    }

    /// With what a debugger needs to see: that it is a vfork, or, where the
    /// caller must not sleep until exec, a fork.
    pub(super) fn copied(&mut self, prepared: &Prepared) -> Option<Try> {
        let again = self.budget.change(Change::Copied)?;
        self.shape.engine = Engine::Copied;
        self.flags = CloneFlags::empty();
        self.show_to_debugger(prepared);
        Some(again)
    }

    pub(super) fn show_to_debugger(&mut self, prepared: &Prepared) {
        if kernel::traced() {
            if prepared.plan.before.is_empty() {
                self.flags = CloneFlags::VFORK;
            } else if prepared.plan.set_tid.is_empty() {
                self.told_of(
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
        self.told_of("clone flags", errno, "a plain clone");
        self.plain(prepared);
        Some(again)
    }

    fn plain(&mut self, prepared: &Prepared) {
        self.shape.engine = Engine::Pipe;
        self.shape.maker = Maker::Clone;
        self.shape.join = prepared.plan.cgroup.is_some();
        self.flags = CloneFlags::empty();
    }
}

/// Whether a row copies the pidfd.
fn copies(lowered: &Lowered, row: u32) -> bool {
    let copy = u64::from(libc::F_DUPFD_CLOEXEC.unsigned_abs());
    let fcntl = number(libc::SYS_fcntl);
    let row = lowered.row(row).filter(|row| row.nr == fcntl);
    row.is_some_and(|row| row.args.get(1) == Some(&copy))
}
