//! Files of `/proc/PID`: whether a child has exec'd, and its name.
//!
//! A `/proc` of another PID namespace has other processes by these ids, so it
//! is read only if it has this process by its own id. Costs a system call.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fs::{CWD, readlinkat_raw};

use crate::sys::{Pid, safe};

/// The kernel's `PF_FORKNOEXEC`: forked and not exec'd since. The flags are
/// the seventh field after the name in `/proc/PID/stat` ([`proc_pid_stat(5)`]).
///
/// [`proc_pid_stat(5)`]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
const NO_EXEC: u64 = 0x40;
const FLAGS: usize = 6;
/// The wait status of one that has ended, or the signal that has stopped it, for
/// those who may trace it.
const EXIT_CODE: usize = 49;

/// Whether a child that has not been reaped has exec'd since it was cloned;
/// `None` if /proc cannot be read.
pub(super) fn has_execd(pid: Pid) -> Option<bool> {
    let mut stat = [0u8; 256];
    let stat = read(pid, b"/stat", &mut stat)?;
    flags_in(stat).map(|flags| flags & NO_EXEC == 0)
}

/// Whether a process has ended and is not reaped; `None` if /proc cannot be
/// read.
pub(super) fn is_zombie(pid: Pid) -> Option<bool> {
    let mut stat = [0u8; 256];
    let stat = read(pid, b"/stat", &mut stat)?;
    Some(matches!(field(stat, 0)?, b"Z" | b"X"))
}

/// Returns the wait status of a process that has ended and is not reaped, if
/// the kernel shows it and it is not 0, which is also shown to those who may
/// not see it.
pub(super) fn exit_status(pid: Pid) -> Option<i32> {
    code_in_state(pid, &[b"Z", b"X"])
}

/// Returns the signal that has stopped a process, if it is stopped and the
/// kernel shows it.
pub(super) fn stop_signal(pid: Pid) -> Option<i32> {
    code_in_state(pid, &[b"T"])
}

/// The exit code of a process in one of these states, if it is not 0.
fn code_in_state(pid: Pid, states: &[&[u8]]) -> Option<i32> {
    let mut stat = [0u8; 1024];
    let stat = read(pid, b"/stat", &mut stat)?;
    let code = field(stat, EXIT_CODE)?.trim_ascii_end();
    let code = core::str::from_utf8(code).ok()?.parse().ok()?;
    let state = field(stat, 0)?;
    (states.contains(&state) && code != 0).then_some(code)
}

/// Reads the start of a file of `/proc/PID` into `bytes`.
pub(super) fn read<'a>(
    pid: Pid,
    file: &[u8],
    bytes: &'a mut [u8],
) -> Option<&'a [u8]> {
    if !is_own() {
        return None;
    }
    let mut path = [0u8; 32];
    let mut digits = [0u8; 10];
    let parts = [b"/proc/", decimal(pid.get(), &mut digits)?, file];
    for (to, byte) in path.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *byte;
    }
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let file = safe::open(path, flags, 0).ok()?;
    let read = safe::read(file, bytes);
    let _ = safe::close(file);
    bytes.get(..read.ok()?)
}

/// Whether `/proc` is that of this process's PID namespace.
fn is_own() -> bool {
    let (mut link, mut digits) = ([MaybeUninit::uninit(); 16], [0u8; 10]);
    let Ok((shown, _)) = readlinkat_raw(CWD, c"/proc/self", &mut link) else {
        return false;
    };
    decimal(safe::getpid(), &mut digits).is_some_and(|own| own == shown)
}

/// Writes a number that is not 0.
fn decimal(mut n: u32, digits: &mut [u8; 10]) -> Option<&[u8]> {
    let mut from = digits.len();
    while n > 0 {
        from = from.checked_sub(1)?;
        *digits.get_mut(from)? = b'0' + u8::try_from(n % 10).ok()?;
        n /= 10;
    }
    digits.get(from..)
}

fn flags_in(stat: &[u8]) -> Option<u64> {
    core::str::from_utf8(field(stat, FLAGS)?).ok()?.parse().ok()
}

/// The field of `/proc/PID/stat` with this number, 0 being the one after the
/// name.
fn field(stat: &[u8], n: usize) -> Option<&[u8]> {
    // A name may contain any byte, parentheses and spaces too.
    let name = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name + 2..)?.split(|byte| *byte == b' ').nth(n)
}

#[cfg(test)]
mod tests {
    use super::{flags_in, has_execd};
    use crate::sys::{Pid, safe};

    #[test]
    fn the_flags_follow_a_name_of_any_bytes() {
        let stat = b"7 (a) b) R 1 7 7 0 -1 4194368 97 0";
        assert_eq!(flags_in(stat), Some(4_194_368));
        for short in [&b""[..], b"7 (a", b"7 (a)", b"7 (a) R 1 7 7 0 -1"] {
            assert_eq!(flags_in(short), None);
        }
        let own = Pid::new(safe::getpid().into()).unwrap();
        assert_eq!(has_execd(own), Some(true), "this program was exec'd");
    }
}
