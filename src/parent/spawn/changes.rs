//! Changes: how one attempt of a spawn may differ from the one before. Each
//! change is made at most once and every attempt but the first takes one, so
//! the number of attempts is bounded.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;

use crate::parent::std::hash::RandomState;
use crate::parent::std::thread;
use crate::parent::std::time::Instant;

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

/// The pauses while there is no process id, before [`jitter`].
const AGAIN_FIRST: Duration = Duration::from_micros(100);
const AGAIN_LAST: Duration = Duration::from_millis(50);

/// Shortens a pause by a part of up to a half.
fn jitter(pause: Duration, random: u64) -> Duration {
    let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos - random % (nanos / 2 + 1))
}

/// std's hasher has new random keys in each process and other ones each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

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
    again_retries: u32,
    /// When retries for want of a process id end; `Some(None)` is never.
    again_end: Option<Option<Instant>>,
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

    /// Permits one more attempt without a change, after a pause, while there
    /// is no process id: until `duration` has passed since the first time.
    #[cold]
    pub(super) fn wait_for_process(
        &mut self,
        duration: Duration,
    ) -> Option<Try> {
        if duration.is_zero() {
            return None;
        }
        let now = Instant::now();
        // Without an end the duration is longer than the clock can tell.
        let end = *self.again_end.get_or_insert(now.checked_add(duration));
        let left = end.map(|end| end.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let doubled = AGAIN_FIRST * (1 << self.again_retries.min(16));
        let pause = jitter(doubled.min(AGAIN_LAST), random());
        // The last attempt is made at the end, not after it.
        thread::sleep(left.map_or(pause, |left| pause.min(left)));
        self.again_retries = self.again_retries.saturating_add(1);
        Some(Try(()))
    }

    /// Returns how often that was done.
    pub(super) fn again_retries(&self) -> u32 {
        self.again_retries
    }

    /// Returns how often a program was open for writing.
    pub(super) fn busy_retries(&self) -> u32 {
        self.busy_retries
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{
        AGAIN_FIRST, AGAIN_LAST, BUSY_RETRIES, Budget, Change, Instant,
        jitter, random,
    };

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

    #[test]
    fn retries_for_want_of_a_process_id_end_with_the_duration() {
        let mut budget = Budget::default();
        assert!(budget.wait_for_process(Duration::ZERO).is_none());
        assert_eq!(budget.again_end, None, "no clock is read");
        let duration = Duration::from_millis(20);
        let begin = Instant::now();
        while budget.wait_for_process(duration).is_some() {}
        assert!(begin.elapsed() >= duration);
        let most = duration.as_nanos() / (AGAIN_FIRST.as_nanos() / 2);
        assert!(u128::from(budget.again_retries()) <= most);
        assert!(budget.again_retries() > 0);
        let mut endless = Budget::default();
        assert!(endless.wait_for_process(Duration::MAX).is_some());
    }

    #[test]
    fn a_pause_is_shortened_by_half_at_most() {
        for pause in [Duration::ZERO, AGAIN_FIRST, AGAIN_LAST] {
            for random in [0, 1, 12_345, u64::MAX, random()] {
                let shorter = jitter(pause, random);
                assert!(shorter <= pause && shorter * 2 >= pause);
            }
        }
        assert_ne!([random(), random()], [random(), random()]);
    }
}
