//! Changes: what may differ from one try of a spawn to the next. Each is made
//! at most once, and every try but the first takes one, so that the
//! number of tries is bounded whatever the kernel answers.

use core::time::Duration;

use crate::parent::std::thread;

/// What the next try does otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// No descriptor of ours as the proof, and a copy of the table.
    NoProbeFd,
    /// No pidfd.
    NoPidfd,
    /// clone, not clone3.
    Legacy,
    /// The control group is entered by a write.
    Join,
    /// No `close_range`.
    NoCloseRange,
    /// A program by its path in `/proc`, not by its descriptor.
    NoExecveat,
    /// A shell that runs the program.
    Shell,
    /// Stops that are pending are not taken.
    KeepStops,
    /// Memory copied, not a memory file executed.
    Copied,
    /// A plain clone and a pipe.
    Plain,
    /// No `process_mrelease`.
    NoMrelease,
    /// No second thread.
    OneThread,
}

/// How often a program that is open for writing is tried again: 50 us, then
/// twice as long each time, 5 ms at most; about 30 ms in all.
const BUSY_RETRIES: u32 = 12;
const BUSY_FIRST: Duration = Duration::from_micros(50);
const BUSY_LAST: Duration = Duration::from_millis(5);

/// The right to one more try. Only a [`Budget`] makes one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a try that is not made is given up"]
pub(super) struct Try(());

/// What one spawn may still change.
#[derive(Debug, Default)]
pub(super) struct Budget {
    begun: bool,
    made: u16,
    busy: u32,
}

impl Budget {
    /// The first try.
    pub(super) fn first(&mut self) -> Option<Try> {
        let first = !self.begun;
        self.begun = true;
        first.then_some(Try(()))
    }

    /// One more try with this change, unless it was made before.
    pub(super) fn change(&mut self, change: Change) -> Option<Try> {
        let bit = 1 << change as u16;
        let fresh = self.made & bit == 0;
        self.made |= bit;
        fresh.then_some(Try(()))
    }

    /// One more try without a change, after a pause, for a program that is
    /// open for writing.
    pub(super) fn wait_for_writer(&mut self) -> Option<Try> {
        if self.busy >= BUSY_RETRIES {
            return None;
        }
        thread::sleep((BUSY_FIRST * (1 << self.busy)).min(BUSY_LAST));
        self.busy += 1;
        Some(Try(()))
    }

    /// How often that was done.
    pub(super) fn busy_retries(&self) -> u32 {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::{BUSY_RETRIES, Budget, Change};

    #[test]
    fn each_change_is_made_once() {
        let mut budget = Budget::default();
        assert!(budget.first().is_some());
        assert!(budget.first().is_none());
        for change in [Change::NoProbeFd, Change::Legacy, Change::Plain] {
            assert!(budget.change(change).is_some(), "{change:?}");
            assert!(budget.change(change).is_none(), "{change:?}");
        }
    }

    #[test]
    fn a_busy_program_is_tried_a_bounded_number_of_times() {
        let mut budget = Budget::default();
        let mut tries = 0;
        while budget.wait_for_writer().is_some() {
            tries += 1;
        }
        assert_eq!(tries, BUSY_RETRIES);
        assert_eq!(budget.busy_retries(), BUSY_RETRIES);
    }
}
