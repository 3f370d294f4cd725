//! Signals to a child: by its pidfd, else by its process id.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use super::arch::syscall;
use super::pidfd::try_signal;
use super::wait::Target;
use super::{Errno, Pid, bits};

/// Sends a signal to a child by its process id, which is the child's only as
/// long as it has not been reaped.
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    let signal = u64::from(signal.unsigned_abs());
    let args = [u64::from(pid.get()), signal, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers, and the pid
    // is above 0, so it names one process.
    let result = unsafe { syscall(libc::SYS_kill, args) };
    Errno::of(result).map_or(Ok(()), Err)
}

/// Sends a signal to the process group that a child leads, whose number is the
/// group's only as long as the child has not been reaped.
pub(crate) fn kill_group(pid: Pid, signal: i32) -> Result<(), Errno> {
    let Some(group) = i64::from(pid.get()).checked_neg().filter(|n| *n < -1)
    else {
        return Err(Errno(libc::EINVAL));
    };
    let signal = u64::from(signal.unsigned_abs());
    let args = [bits(group), signal, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the arguments are numbers, and the first
    // is below -1, so it names one group.
    let result = unsafe { syscall(libc::SYS_kill, args) };
    Errno::of(result).map_or(Ok(()), Err)
}

/// Kills a child that has not been reaped.
pub(crate) fn kill_child(target: Target) -> Result<(), Errno> {
    send_signal(target, libc::SIGKILL)
}

/// Sends a signal to a child that has not been reaped: by its pidfd, which
/// never refers to another process, otherwise by its process id.
pub(crate) fn send_signal(target: Target, signal: i32) -> Result<(), Errno> {
    let Some(pidfd) = target.pidfd else {
        return kill(target.pid, signal);
    };
    try_signal(pidfd, signal).unwrap_or_else(|| kill(target.pid, signal))
}
