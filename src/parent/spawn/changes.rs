//! Changes: how one attempt of a spawn may differ from the one before. Each
//! change is made at most once and every attempt but the first takes one, so
//! the number of attempts is bounded.

use core::time::Duration;

use crate::parent::std::thread;

/// What the next attempt does differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// No probe descriptor, and a copy of the descriptor table.
    NoProbeFd,
    /// No pidfd.
    NoPidfd,
    /// clone in place of clone3.
    Clone,
    /// The child enters its control group by a write.
    JoinCgroup,
    /// No `close_range`.
    NoCloseRange,
    /// execve of the program's path in `/proc` in place of `execveat`.
    NoExecveat,
    /// A shell runs the program.
    Shell,
    /// Pending stop signals are not consumed.
    KeepStops,
    /// The copied engine in place of isolated.
    Copied,
    /// The pipe engine: a plain clone.
    Pipe,
    /// No `process_mrelease`.
    NoMrelease,
    /// No second thread.
    OneThread,
}

/// How often a spawn is repeated while the program is open for writing
/// (ETXTBSY): after 50 us, then twice as long each time, at most 5 ms; about
/// 30 ms in all.
const BUSY_RETRIES: u32 = 12;
const BUSY_FIRST: Duration = Duration::from_micros(50);
const BUSY_LAST: Duration = Duration::from_millis(5);

/// The right to one more attempt. Only a [`Budget`] creates one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "without an attempt the right is lost"]
pub(super) struct Try(());

/// What one spawn may still change.
#[derive(Debug, Default)]
pub(super) struct Budget {
    begun: bool,
    changes: u16,
    busy_retries: u32,
}

impl Budget {
    /// Permits the first attempt.
    pub(super) fn first(&mut self) -> Option<Try> {
        let first = !self.begun;
        self.begun = true;
        first.then_some(Try(()))
    }

    /// Permits one more attempt with this change, unless it was made before.
    pub(super) fn change(&mut self, change: Change) -> Option<Try> {
        let bit = 1 << change as u16;
        let fresh = self.changes & bit == 0;
        self.changes |= bit;
        fresh.then_some(Try(()))
    }

    /// Permits one more attempt without a change, after a pause, while the
    /// program is open for writing.
    pub(super) fn wait_for_writer(&mut self) -> Option<Try> {
        if self.busy_retries >= BUSY_RETRIES {
            return None;
        }
        thread::sleep((BUSY_FIRST * (1 << self.busy_retries)).min(BUSY_LAST));
        self.busy_retries += 1;
        Some(Try(()))
    }

    /// Returns how often that was done.
    pub(super) fn busy_retries(&self) -> u32 {
        self.busy_retries
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
        for change in [Change::NoProbeFd, Change::Clone, Change::Pipe] {
            assert!(budget.change(change).is_some(), "{change:?}");
            assert!(budget.change(change).is_none(), "{change:?}");
        }
    }

    #[test]
    fn a_program_open_for_writing_is_tried_a_bounded_number_of_times() {
        let mut budget = Budget::default();
        let mut tries = 0;
        while budget.wait_for_writer().is_some() {
            tries += 1;
        }
        assert_eq!(tries, BUSY_RETRIES);
        assert_eq!(budget.busy_retries(), BUSY_RETRIES);
    }
}
