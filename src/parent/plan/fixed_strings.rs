//! Fixed strings: what the string table of every plan begins with.

use crate::parent::plan::op::Str;
use crate::parent::std::vec::Vec;
use crate::sys::abi::{SIGACTION_SIZE, STOP_SIGNALS};
use crate::sys::bits;

/// The result of a system call that failed with ENOENT.
pub(super) const ENOENT_RESULT: u64 = bits(-(libc::ENOENT as i64));

/// `SIG_DFL` as the kernel's `struct sigaction`.
const SIG_DFL: [u8; 32] = [0; 32];
const _: () = assert!(SIG_DFL.len() as u64 == SIGACTION_SIZE);

/// A signal set with SIGSYS only.
const SIGSYS_SET: u64 = 1 << (libc::SIGSYS - 1);

/// Zeros (`SIG_DFL` as a `struct sigaction`, an empty string, a zero timeout),
/// the signals that stop, the result EAGAIN, the set SIGSYS, the result
/// ENOENT, "0", the path of the shell, and "/".
pub(super) fn opening(text: &mut Vec<u8>) {
    text.extend_from_slice(&SIG_DFL);
    text.extend_from_slice(&STOP_SIGNALS.to_le_bytes());
    text.extend_from_slice(&(-i64::from(libc::EAGAIN)).to_le_bytes());
    text.extend_from_slice(&SIGSYS_SET.to_le_bytes());
    text.extend_from_slice(&ENOENT_RESULT.to_le_bytes());
    text.extend_from_slice(b"0\0/bin/sh\0/\0");
}

/// 32 zero bytes.
pub(crate) const ZEROS: Str = Str { start: 0, len: 0 };

/// The signals that stop a process and can be blocked, as a set.
pub(crate) const STOPS: Str = Str { start: 32, len: 8 };

/// The result of a call that failed with EAGAIN, 8 bytes.
pub(crate) const NONE: Str = Str { start: 40, len: 8 };

/// The signal set that has only SIGSYS.
pub(crate) const SIGSYS: Str = Str { start: 48, len: 8 };

/// The result of a call that failed with ENOENT, 8 bytes.
pub(crate) const GONE: Str = Str { start: 56, len: 8 };

/// "0".
pub(crate) const ZERO: Str = Str { start: 64, len: 1 };

/// The shell that runs a file of unknown format, as in `execvp(3)`.
pub(crate) const SHELL: Str = Str { start: 66, len: 7 };

/// "/".
pub(crate) const ROOT: Str = Str { start: 74, len: 1 };
