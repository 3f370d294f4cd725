//! Gate rows: the child waits until the parent has run its hooks.

use crate::call::{Check, ROW, gate, local, slot};
use crate::sys::bits;

use super::lower::Lowering;

/// How many bytes of a slot hold a process id as `getppid` returns it.
const PID: u64 = 8;

impl Lowering<'_> {
    /// Until the gate opens, `PR_SET_PDEATHSIG` ends the child with the thread
    /// that cloned it, as no other thread opens the gate. If that thread has
    /// ended before the call, `getppid` returns another process; in a new PID
    /// namespace it returns 0 in either case.
    pub(super) fn gate(&mut self) {
        self.death_signal(libc::SIGKILL);
        let parent = self.call(libc::SYS_getppid, &[]);
        parent.store = slot::GETPPID;
        parent.check = Check::Skip;
        parent.skip = ROW;
        let args = [slot::GETPPID_ADDR, slot::PARENT_PID_ADDR].map(u64::from);
        let same = self.push(local::COMPARE, &[args[0], args[1], PID]);
        same.slots = 0b11;
        same.check = Check::Equal;
        let here = self.push(local::VALUE, &[gate::WAITING.into()]);
        here.store = slot::GATE;
        let word = u64::from(slot::GATE_ADDR);
        let wake = u64::from(libc::FUTEX_WAKE.unsigned_abs());
        self.call(libc::SYS_futex, &[word, wake, 1]).slots = 0b1;
        let wait = u64::from(libc::FUTEX_WAIT.unsigned_abs());
        let args = [word, wait, gate::WAITING.into()];
        let waits = self.call(libc::SYS_futex, &args);
        waits.slots = 0b1;
        waits.check = Check::Until;
        // EAGAIN: the word has changed.
        waits.want = bits(-i64::from(libc::EAGAIN));
        // An errno, if the parent's function has failed.
        self.push(local::VALUE, &[slot::GATE.into()]).slots = 0b1;
        self.death_signal(0);
    }

    fn death_signal(&mut self, signal: libc::c_int) {
        let option = u64::from(libc::PR_SET_PDEATHSIG.unsigned_abs());
        let signal = u64::from(signal.unsigned_abs());
        self.call(libc::SYS_prctl, &[option, signal]);
    }

    /// The child owns the gate's word as well as the robust futex.
    pub(super) fn own_gate(&mut self) {
        let futex = self.push(local::VALUE, &[slot::ROBUST_FUTEX.into()]);
        futex.slots = 0b1;
        futex.store = slot::GATE;
    }
}

#[cfg(test)]
mod tests {
    use crate::call::{Block, local, number};
    use crate::launch::exec_in_place::walk;
    use crate::parent::command::method::Engine;
    use crate::parent::plan::lower::lower;
    use crate::parent::std::vec::Vec;

    const GETPPID: u32 = number(libc::SYS_getppid);
    const FUTEX: u32 = number(libc::SYS_futex);
    const PRCTL: u32 = number(libc::SYS_prctl);
    const EXEC: u32 = number(libc::SYS_execve);

    /// The calls of a child from `getppid` on, which returns `parent`.
    fn calls(parent: i64, is_other: bool) -> Vec<u32> {
        let mut command = crate::Command::new("/bin/true");
        command.engine(Engine::Copied).before_exec(|_, _| Ok(()));
        let plan = command.plan().unwrap();
        let rows = lower(&plan, plan.strategy, Vec::new());
        let (mut made, mut waits) = (Vec::new(), [-4i64, 0, -11].into_iter());
        let mut kernel = |nr: u32, args: [u64; 6]| {
            made.push(nr);
            match nr {
                local::COMPARE => i64::from(is_other),
                GETPPID => parent,
                FUTEX if args[1] == 0 => waits.next().unwrap(),
                EXEC => -2,
                // The probe descriptor is closed.
                nr if nr == number(libc::SYS_fcntl) => -9,
                _ => 0,
            }
        };
        assert_eq!(walk(&rows, &Block::new().into(), &mut kernel), None);
        let from = made.iter().position(|nr| *nr == GETPPID).unwrap();
        assert_eq!(made[from - 1], PRCTL);
        made.split_off(from)
    }

    #[test]
    fn a_child_whose_parent_is_another_by_now_does_not_wait() {
        assert_eq!(calls(7, true), [GETPPID, local::COMPARE]);
    }

    #[test]
    fn a_child_waits_until_the_word_is_another() {
        let waits = [FUTEX, FUTEX, FUTEX, FUTEX, PRCTL];
        let mine = calls(7, false);
        assert_eq!(mine[..2], [GETPPID, local::COMPARE]);
        assert_eq!(mine[2..7], waits);
        assert_eq!(mine.last(), Some(&EXEC));
        let first = calls(0, true);
        assert_eq!(first[..6], [&[GETPPID][..], &waits].concat());
    }
}
