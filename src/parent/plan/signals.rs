//! Signal rows: handlers, the mask, and stops that are pending.

use super::fixed_strings;
use super::fixed_strings::ENOENT_RESULT;
use super::lower::Lowering;
use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::plan::op::Op;
use crate::sys::abi::SIGSET_SIZE;
use crate::sys::bits;

impl Lowering<'_> {
    fn default_signal(&mut self, signal: u8) {
        let zeros = u64::from(fixed_strings::ZEROS.start);
        let args = [u64::from(signal), zeros, 0, SIGSET_SIZE];
        self.call(libc::SYS_rt_sigaction, &args).texts = 0b10;
    }

    /// Resets each signal that is neither at its default nor ignored. Takes four
    /// rows a signal, and only with the legacy clone: clone3 has a flag.
    pub(super) fn clear_handlers(&mut self) {
        const LAST_SIGNAL: u8 = 64;
        let kept = [libc::SIGKILL, libc::SIGSTOP];
        let at = u64::from(slot::SCRATCH_ADDR);
        for signal in 1..=LAST_SIGNAL {
            if kept.contains(&i32::from(signal)) {
                continue;
            }
            let args = [u64::from(signal), 0, at, SIGSET_SIZE];
            self.call(libc::SYS_rt_sigaction, &args).slots = 0b100;
            for (skipped, handler) in [(2, libc::SIG_DFL), (1, libc::SIG_IGN)]
            {
                let args = [u64::from(slot::SCRATCH)];
                let row = self.push(local::VALUE, &args);
                row.slots = 0b1;
                row.check = Check::Skip;
                row.want = handler as u64;
                row.skip = skipped * ROW;
            }
            self.default_signal(signal);
        }
    }

    /// Takes pending stop signals while all signals are blocked: they would take
    /// effect when the mask is set, and suspend a caller that sleeps until
    /// exec. One call; two more if a signal was pending, as there are three
    /// such signals. If a filter rejects the call, they stay pending.
    fn take_stops(&mut self) {
        self.take_stop().store = slot::STOP_SIGNAL;
        let args = [
            slot::STOP_SIGNAL_ADDR.into(),
            u64::from(fixed_strings::NONE.start),
            8,
        ];
        let none = self.push(local::COMPARE, &args);
        (none.slots, none.texts) = (0b01, 0b10);
        none.check = Check::Skip;
        none.skip = 2 * ROW;
        self.take_stop();
        self.take_stop();
    }

    fn take_stop(&mut self) -> &mut Call {
        let set = u64::from(fixed_strings::STOPS.start);
        let now = u64::from(fixed_strings::ZEROS.start);
        let args = [set, 0, now, SIGSET_SIZE];
        let row = self.call(libc::SYS_rt_sigtimedwait, &args);
        row.texts = 0b101;
        row.check = Check::May;
        row
    }

    /// Looks for the candidates while signals are blocked, up to the first that
    /// exists: an exec that fails returns to the child, and a stop signal that
    /// arrives then would suspend the caller. `faccessat` gives ENOENT where
    /// exec does; any other result is left to exec.
    fn look_for_files(&mut self) {
        let (plan, strategy) = (self.plan, self.strategy);
        let files = || {
            let steps = plan.steps(strategy);
            steps.filter_map(|(_, record)| match record.op()? {
                Op::Exec(path) => Some(path),
                _ => None,
            })
        };
        let (from, count) = self.results(files().count().saturating_sub(1));
        let here = bits(i64::from(libc::AT_FDCWD));
        for (n, path) in (0..count).zip(files()) {
            let args = [here, u64::from(path.start), 0];
            let look = self.call(libc::SYS_faccessat, &args);
            look.texts = 0b10;
            look.check = Check::May;
            look.store = slot::STOP_SIGNAL;
            let gone = u64::from(fixed_strings::GONE.start);
            let args = [slot::STOP_SIGNAL_ADDR.into(), gone, 8];
            let there = self.push(local::COMPARE, &args);
            (there.slots, there.texts) = (0b01, 0b10);
            there.check = Check::Skip;
            there.want = 1;
            there.skip = (1 + 3 * u16::from(count - n - 1)) * ROW;
            let note = self.push(local::VALUE, &[ENOENT_RESULT]);
            note.check = Check::May;
            note.store = from + n;
        }
        self.looked_for = (from, count);
    }

    pub(super) fn signal_mask(&mut self) {
        if self.plan.takes_stops(self.strategy) {
            self.look_for_files();
            self.take_stops();
        }
        let how = u64::from(libc::SIG_SETMASK.unsigned_abs());
        let args = [how, u64::from(slot::SIGMASK_ADDR), 0, SIGSET_SIZE];
        self.call(libc::SYS_rt_sigprocmask, &args).slots = 0b10;
    }
}
