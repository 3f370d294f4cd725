//! Exec rows: `execve` of each candidate, `execveat` of a descriptor.

use super::Plan;
use super::fixed_strings;
use super::fixed_strings::ENOENT_RESULT;
use super::lower::Lowering;
use super::strategy::Strategy;
use crate::call::{Call, Check, ROW, errno_bits, local, slot};
use crate::parent::command::Engine;
use crate::parent::plan::op::Str;
use crate::sys::Errno;

impl Lowering<'_> {
    /// `execve` of a candidate, or of the shell that runs it.
    pub(super) fn exec(&mut self, (path, nth): (Str, usize), last: bool) {
        let (plan, strategy) = (self.plan, self.strategy);
        let (path, argv) = match strategy.shell {
            Some(_) => (fixed_strings::SHELL, plan.strings.shell_argv(nth)),
            None => (path, plan.argvs.get(nth).copied().unwrap_or(0)),
        };
        let store = self.result_of(nth);
        let args = [u64::from(path.start), argv, 0];
        let row = self.call(libc::SYS_execve, &args);
        row.texts = 0b001;
        row.lists = 0b010;
        row.store = store;
        match (last, plan.tries_all, plan.shell_fallback) {
            (true, ..) => row.must_not_return(),
            (_, false, _) => {
                row.check = Check::Exec;
                (row.want, row.or) = errno_bits(&Errno::NEXT_CANDIDATE);
            }
            (_, true, false) => row.check = Check::May,
            // ENOEXEC ends the search: the shell runs that candidate.
            (_, true, true) => {
                row.check = Check::Exec;
                row.want = !errno_bits(&[libc::ENOEXEC]).0;
                // `or` is added to the stored result, whose low byte is the
                // errno.
                row.or = !0xFF;
            }
        }
        environment(row, 2, plan, strategy);
    }

    /// The slot for the result of an exec. If `look_for_files` has stored
    /// ENOENT in it, the exec is skipped.
    fn result_of(&mut self, nth: usize) -> u8 {
        let (from, count) = self.looked_for;
        let known = u8::try_from(nth).ok().filter(|n| *n < count);
        let Some(nth) = known else { return self.result() };
        let store = from + nth;
        let gone = self.push(local::VALUE, &[store.into()]);
        gone.slots = 0b1;
        gone.check = Check::Skip;
        gone.want = ENOENT_RESULT;
        gone.skip = ROW;
        gone.store = store;
        store
    }

    pub(super) fn exec_fd(&mut self, index: u16) {
        let (plan, strategy) = (self.plan, self.strategy);
        let store = self.result();
        let row = if strategy.no_execveat {
            let path = u64::from(plan.proc_path.start);
            let row = self.call(libc::SYS_execve, &[path, 0, 0]);
            (row.texts, row.lists) = (0b001, 0b010);
            environment(row, 2, plan, strategy);
            row
        } else {
            let fd = u64::from(plan.child_fd(index));
            let empty = u64::from(fixed_strings::ZEROS.start);
            let flags = u64::from(libc::AT_EMPTY_PATH.unsigned_abs());
            let args = [fd, empty, 0, 0, flags];
            let row = self.call(libc::SYS_execveat, &args);
            (row.texts, row.lists) = (0b0010, 0b0100);
            environment(row, 3, plan, strategy);
            row
        };
        row.store = store;
        row.must_not_return();
    }
}

/// Sets the argument of an exec that is its environment: the plan's, a shared
/// one, or the launch's own.
fn environment(row: &mut Call, n: usize, plan: &Plan, strategy: Strategy) {
    // In the helper image it has the same address in every launch.
    let own = (plan.listens || plan.strings.shared().is_some())
        && strategy.engine != Engine::Isolated;
    if let Some(arg) = row.args.get_mut(n) {
        *arg = if own { slot::ENVIRON.into() } else { plan.strings.envp() };
    }
    if own {
        row.slots |= 1 << n;
    } else {
        row.lists |= 1 << n;
    }
}
