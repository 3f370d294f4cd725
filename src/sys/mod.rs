//! The kernel: system calls that rustix does not offer, and ABI structures.
//!
//! Both processes run code of this directory, which uses nothing of the rest
//! of the crate. Absent: libc's errno (results are returned as the kernel gives
//! them), allocation, locks.

pub(crate) mod abi;
pub(crate) mod arch;
pub(crate) mod call;
pub(crate) mod claim;
mod ended;
pub(crate) mod fds;
mod flags;
pub(crate) mod fork_detection;
pub(crate) mod ids;
pub(crate) mod kill;
pub(crate) mod landlock;
pub(crate) mod pidfd;
pub(crate) mod safe;
pub(crate) mod seccomp;
pub(crate) mod users;
pub(crate) mod wait;
mod waitid;

pub use flags::CloneFlags;

use core::num::NonZeroI32;

/// Returns the bits of a signed number, as registers and slots hold them.
pub(crate) const fn bits(n: i64) -> u64 {
    u64::from_ne_bytes(n.to_ne_bytes())
}

/// Returns the signed number of such bits.
pub(crate) const fn number(bits: u64) -> i64 {
    i64::from_ne_bytes(bits.to_ne_bytes())
}

/// A process id that is always greater than zero.
///
/// `kill(-1)` reaches every process on the machine and `kill(0)` the caller's
/// process group; a value of this type is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pid(NonZeroI32);

impl Pid {
    /// The only constructor, for the result of a clone.
    pub(crate) fn new(raw: i64) -> Option<Pid> {
        let raw = i32::try_from(raw).ok().filter(|n| *n > 0)?;
        NonZeroI32::new(raw).map(Pid)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get().unsigned_abs()
    }
}

/// The system call that makes a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloneCall {
    /// clone3 (Linux 5.3).
    Clone3,
    /// The legacy clone: no flags above 32 bits, no set_tid, no cgroup.
    Clone,
}

impl CloneCall {
    pub(crate) fn name(self) -> &'static str {
        match self {
            CloneCall::Clone3 => "clone3",
            CloneCall::Clone => "clone",
        }
    }
}

/// A kernel error number, 1 to 4095, as [`errno(3)`] lists them.
///
/// It is `Copy`, so that a hook can return one without allocating.
///
/// # Examples
///
/// ```
/// use offshoot::Errno;
///
/// let errno = Errno::from_raw_os_error(2);
/// assert_eq!(errno.raw_os_error(), 2);
/// assert_eq!(std::io::Error::from(errno).kind(), std::io::ErrorKind::NotFound);
/// ```
///
/// [`errno(3)`]: https://man7.org/linux/man-pages/man3/errno.3.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub(crate) i32);

impl Errno {
    /// Creates one from an error number. A number that is not in 1 to 4095
    /// becomes EINVAL.
    #[must_use]
    pub const fn from_raw_os_error(number: i32) -> Errno {
        match number {
            1..=4095 => Errno(number),
            _ => Errno(libc::EINVAL),
        }
    }

    /// Returns the error number.
    #[must_use]
    pub const fn raw_os_error(self) -> i32 {
        self.0
    }

    /// The errors of exec after which a search tries the next candidate: the
    /// file does not exist, its file system is unavailable, or its path is too
    /// long.
    pub(crate) const NEXT_CANDIDATE: [i32; 6] = [
        libc::ENOENT,
        libc::ENOTDIR,
        libc::ENODEV,
        libc::ESTALE,
        libc::ETIMEDOUT,
        libc::ENAMETOOLONG,
    ];

    pub(crate) fn tries_next(self) -> bool {
        Errno::NEXT_CANDIDATE.contains(&self.0)
    }

    /// Returns the error of a raw result, if it is one.
    pub(crate) fn of(result: i64) -> Option<Errno> {
        match i32::try_from(result) {
            Ok(n @ -4095..=-1) => Some(Errno(-n)),
            _ => None,
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "error number {}", self.0)
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::{Errno, Pid};

    #[test]
    fn a_pid_is_never_zero_or_negative() {
        for raw in [0, -1, -4095, i64::MIN, i64::MAX, 1 << 32] {
            assert_eq!(Pid::new(raw), None, "{raw}");
        }
        assert_eq!(Pid::new(7).map(Pid::get), Some(7));
    }

    #[test]
    fn only_minus_1_to_minus_4095_are_errors() {
        assert_eq!(Errno::of(-2), Some(Errno(2)));
        assert_eq!(Errno::of(-4095), Some(Errno(4095)));
        assert_eq!(Errno::of(-4096), None);
        assert_eq!(Errno::of(0), None);
    }
}
