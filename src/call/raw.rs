//! `RawCall`: a call that is in no rule, for which its caller vouches.
#![allow(unsafe_code, reason = "the constructor has a contract")]

use super::{Call, local, slot};

/// An argument of a raw call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawKind {
    Number(u64),
    /// A source descriptor of the plan.
    Fd,
    /// The address of so many bytes in the text.
    Bytes(u64),
    /// The address of the scratch slots, which the call may write.
    Output,
}

/// The most that a call writes at [`RawKind::Output`].
pub(crate) const OUTPUT: usize =
    8 * (slot::SCRATCH_FD - slot::SCRATCH + 1) as usize;

/// A call, and the arguments that it is vouched for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawCall {
    nr: u32,
    args: [RawKind; 6],
}

impl RawCall {
    /// # Safety
    ///
    /// Clause 1: with these arguments the call reads memory only at its
    /// [`RawKind::Bytes`], no more than they have, and writes memory only at
    /// its [`RawKind::Output`], no more than [`OUTPUT`] bytes.
    ///
    /// Clause 2: it makes no process or thread and ends none, does not run a
    /// program, and does not change the mappings or attributes of memory that
    /// others use: in private memory of the walker and the plan, in shared
    /// memory of the parent.
    pub(crate) const unsafe fn new(nr: u32, args: [RawKind; 6]) -> RawCall {
        RawCall { nr, args }
    }

    /// Whether a row is this call, with text at this address and so long.
    pub(super) fn permits(&self, row: &Call, text: (u64, u64)) -> bool {
        let mut all = self.args.iter().zip(row.args).enumerate();
        let local = row.nr & local::VALUE != 0;
        let same = self.nr == row.nr && !local && row.lists == 0;
        same && all.all(|(i, (kind, arg))| {
            let is = |bits: u8| bits & (1 << i) != 0;
            let (is_text, slot) = (is(row.texts), is(row.slots));
            match *kind {
                RawKind::Number(n) => !is_text && !slot && arg == n,
                RawKind::Fd => !is_text && !slot,
                RawKind::Bytes(len) => {
                    let at = arg.wrapping_sub(text.0);
                    let room = text.1.checked_sub(at);
                    is_text && !slot && room.is_some_and(|room| len <= room)
                }
                // The walker takes the first four from slots.
                RawKind::Output => {
                    let scratch = arg == u64::from(slot::SCRATCH_ADDR);
                    slot && !is_text && scratch && i < 4
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{RawCall, RawKind};
    use crate::call::{Call, Table, number, slot};

    const NR: u32 = number(libc::SYS_sched_setattr);
    const TEXT: [u8; 9] = [0; 9];

    fn is_valid(row: Call, raw: &[RawCall]) -> bool {
        let exit = Call::new(number(libc::SYS_exit_group), [0; 6]);
        let rows = [Call { row: 1, ..row }, Call { row: 2, ..exit }];
        Table::with_raw(&rows, &TEXT, &[], &[], raw).is_ok()
    }

    fn raw(args: [RawKind; 3]) -> RawCall {
        let [a, b, c] = args;
        let none = RawKind::Number(0);
        // SAFETY: clauses 1 and 2: no test makes the call.
        unsafe { RawCall::new(NR, [a, b, c, none, none, none]) }
    }

    #[test]
    fn a_call_that_nobody_vouches_for_is_invalid() {
        let number = RawKind::Number(7);
        let known = raw([number, number, number]);
        let row = Call::new(NR, [7, 7, 7, 0, 0, 0]);
        assert!(!is_valid(row, &[]));
        assert!(is_valid(row, &[known]));
        for other in [
            Call { nr: NR + 1, ..row },
            Call { args: [7, 7, 8, 0, 0, 0], ..row },
            Call { args: [7, 7, 7, 0, 0, 1], ..row },
            Call { slots: 1, ..row },
            Call { texts: 1, ..row },
            Call { lists: 1, ..row },
            Call { fds: 1, ..row },
            Call { store: slot::SCRATCH_ADDR, ..row },
        ] {
            assert!(!is_valid(other, &[known]), "{other:?}");
        }
    }

    #[test]
    fn bytes_are_in_the_text_as_a_whole_and_output_in_the_scratch_slots() {
        let at = TEXT.as_ptr().addr() as u64;
        let bytes = |len| raw([RawKind::Number(0), RawKind::Bytes(len), ZERO]);
        let row = Call::new(NR, [0, at, 0, 0, 0, 0]);
        let text = Call { texts: 0b10, ..row };
        assert!(is_valid(text, &[bytes(9)]));
        assert!(!is_valid(text, &[bytes(10)]));
        assert!(!is_valid(row, &[bytes(9)]), "not marked");
        let outside = Call { args: [0, at + 9, 0, 0, 0, 0], ..text };
        assert!(!is_valid(outside, &[bytes(1)]));
        let output = raw([RawKind::Number(0), RawKind::Output, ZERO]);
        for n in 0..slot::COUNT {
            let args = [0, n.into(), 0, 0, 0, 0];
            let slot = Call { args, slots: 0b10, ..row };
            assert_eq!(is_valid(slot, &[output]), n == slot::SCRATCH_ADDR);
        }
    }

    const ZERO: RawKind = RawKind::Number(0);
}
