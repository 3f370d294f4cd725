//! `SignalSet`: a set of signals, by their numbers.

use core::fmt;
use core::iter::FusedIterator;

/// Why a number is refused.
pub(crate) const NO_SIGNAL: &str = "a signal is a number from 1 to 64";

/// A set of the 64 signals of Linux, by their numbers as in libc (`SIGTERM`
/// is 15).
///
/// Unlike libc's, [`SignalSet::all`] contains 32 and 33, which glibc and musl
/// keep for themselves, and 34.
///
/// A number that is no signal (0, -1, 65) is not lost: the set is then not
/// valid, and an option that is given it is an error of the spawn.
///
/// `Debug` prints names.
///
/// # Examples
///
/// ```
/// use offshoot::SignalSet;
///
/// const SIGHUP: i32 = 1;
/// const SIGTERM: i32 = 15;
///
/// let mut set = SignalSet::from([SIGTERM, SIGHUP]);
/// assert!(set.contains(SIGTERM));
/// assert_eq!(format!("{set:?}"), "{SIGHUP, SIGTERM}");
/// set.remove(SIGTERM);
/// assert_eq!(set.iter().collect::<Vec<_>>(), [SIGHUP]);
/// assert_eq!(SignalSet::all().iter().count(), 64);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SignalSet {
    /// Signal `n` is bit `n - 1`, as in the kernel.
    bits: u64,
    /// The first number that was added and is no signal.
    invalid: Option<i32>,
}

/// The bit of a signal, if the number is one.
fn bit(signal: i32) -> Option<u64> {
    (1..=64).contains(&signal).then(|| 1 << (signal - 1))
}

impl SignalSet {
    /// Returns the set without signals.
    #[must_use]
    pub const fn empty() -> SignalSet {
        SignalSet { bits: 0, invalid: None }
    }

    /// Returns the set of all signals, 1 to 64.
    #[must_use]
    pub const fn all() -> SignalSet {
        SignalSet { bits: u64::MAX, invalid: None }
    }

    /// Returns the set of a mask, in which signal `n` is bit `n - 1`, as in
    /// `/proc/self/status` and [`MaskChange`](crate::MaskChange).
    #[must_use]
    pub const fn from_bits(bits: u64) -> SignalSet {
        SignalSet { bits, invalid: None }
    }

    /// Returns the mask, in which signal `n` is bit `n - 1`.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.bits
    }

    /// Adds a signal.
    pub fn add(&mut self, signal: i32) -> &mut SignalSet {
        match bit(signal) {
            Some(bit) => self.bits |= bit,
            None => self.invalid = self.invalid.or(Some(signal)),
        }
        self
    }

    /// Removes a signal, if the set has it.
    pub fn remove(&mut self, signal: i32) -> &mut SignalSet {
        self.bits &= !bit(signal).unwrap_or_default();
        self.invalid = self.invalid.filter(|own| *own != signal);
        self
    }

    /// Returns whether the set has a signal.
    #[must_use]
    pub fn contains(self, signal: i32) -> bool {
        bit(signal).is_some_and(|bit| self.bits & bit != 0)
    }

    /// Returns whether the set has no signal.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Iterates over the signals, by their numbers.
    #[must_use]
    pub fn iter(self) -> Signals {
        Signals(self.bits)
    }

    pub(crate) fn invalid(self) -> Option<i32> {
        self.invalid
    }
}

impl Extend<i32> for SignalSet {
    fn extend<I: IntoIterator<Item = i32>>(&mut self, signals: I) {
        for signal in signals {
            self.add(signal);
        }
    }
}

impl FromIterator<i32> for SignalSet {
    fn from_iter<I: IntoIterator<Item = i32>>(signals: I) -> SignalSet {
        let mut set = SignalSet::empty();
        set.extend(signals);
        set
    }
}

impl<const N: usize> From<[i32; N]> for SignalSet {
    fn from(signals: [i32; N]) -> SignalSet {
        signals.into_iter().collect()
    }
}

impl IntoIterator for SignalSet {
    type Item = i32;
    type IntoIter = Signals;

    fn into_iter(self) -> Signals {
        self.iter()
    }
}

/// The signals of a set, in ascending order, from [`SignalSet::iter`].
#[derive(Clone, Debug)]
pub struct Signals(u64);

impl Iterator for Signals {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        if self.0 == 0 {
            return None;
        }
        let at = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        i32::try_from(at + 1).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.0.count_ones() as usize;
        (count, Some(count))
    }
}

impl ExactSizeIterator for Signals {}
impl FusedIterator for Signals {}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.iter().chain(self.invalid);
        f.debug_set().entries(all.map(Signal)).finish()
    }
}

/// For people: the names, `none` or `every signal`.
impl fmt::Display for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            0 => return f.write_str("none"),
            u64::MAX => return f.write_str("every signal"),
            _ => {}
        }
        for (n, signal) in self.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{:?}", Signal(signal))?;
        }
        Ok(())
    }
}

/// A signal, which prints as its name; a real-time signal as its number, as
/// `SIGRTMIN` differs between libraries.
pub(crate) struct Signal(pub(crate) i32);

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(number, _)| *number == self.0);
        match name {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

macro_rules! names {
    ($($name:ident)*) => {
        const NAMES: &[(i32, &str)] = &[$((libc::$name, stringify!($name)),)*];
    };
}

names! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL
    SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT
    SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF
    SIGWINCH SIGIO SIGPWR SIGSYS
}

#[cfg(test)]
mod tests {
    use super::{NAMES, SignalSet};
    use crate::parent::std::{format, vec::Vec};

    #[test]
    fn a_signal_is_one_bit_and_has_one_name() {
        for signal in 1..=64 {
            let set = SignalSet::from([signal]);
            assert_eq!(set.bits(), 1 << (signal - 1));
            assert_eq!(set.iter().collect::<Vec<_>>(), [signal]);
            assert_eq!(set, SignalSet::from_bits(set.bits()));
            assert!(set.contains(signal) && !set.contains(signal + 1));
            let named = NAMES.iter().filter(|(n, _)| *n == signal).count();
            assert_eq!(named, usize::from(signal < 32), "{signal}");
        }
        assert_eq!(SignalSet::all().into_iter().len(), 64);
        assert!(SignalSet::empty().is_empty());
    }

    #[test]
    fn a_number_that_is_no_signal_is_kept_until_it_is_removed() {
        for number in [0, -1, 65, i32::MIN, i32::MAX] {
            let mut set = SignalSet::from([2, number, 7]);
            assert_eq!(set.invalid(), Some(number));
            assert_eq!(set.bits(), 1 << 1 | 1 << 6);
            assert!(!set.contains(number));
            let text = format!("{set:?}");
            assert_eq!(text, format!("{{SIGINT, SIGBUS, {number}}}"));
            assert_eq!(set.remove(number).invalid(), None);
        }
    }

    #[test]
    fn a_set_prints_as_its_names() {
        let all = format!("{}", SignalSet::all());
        assert_eq!(all, "every signal");
        assert_eq!(format!("{}", SignalSet::empty()), "none");
        let some = SignalSet::from([libc::SIGTERM, 34, libc::SIGHUP]);
        assert_eq!(format!("{some}"), "SIGHUP, SIGTERM, 34");
    }
}
