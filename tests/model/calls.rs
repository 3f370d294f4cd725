//! Calls: the system calls of the model, with the arguments of the real ones.
#![allow(unsafe_code, reason = "system calls write to addresses")]

use std::ptr;

use crate::kernel::{Kernel, State, kernel};
use crate::sys::abi::{PidfdInfo, Rusage, SigInfo};

/// An errno, or the result.
type Answer = Result<i64, i32>;

/// Makes a system call.
///
/// # Safety
///
/// Clause 1, as that of `sys::arch`.
pub(crate) unsafe fn syscall(nr: i64, args: [u64; 6]) -> i64 {
    let kernel = kernel();
    let answer = match nr {
        libc::SYS_waitid => {
            // SAFETY: the caller guarantees clause 1.
            unsafe { waitid(&kernel, args) }
        }
        libc::SYS_ioctl => {
            // SAFETY: the caller guarantees clause 1.
            unsafe { pidfd_get_info(&kernel, args) }
        }
        libc::SYS_kill => {
            kernel.change(|state| kill(state, int(args[0]), int(args[1])))
        }
        libc::SYS_pidfd_send_signal => kernel.change(|state| {
            pidfd_send_signal(state, int(args[0]), int(args[1]), args[3])
        }),
        _ => panic!("system call {nr} is not in the model"),
    };
    answer.unwrap_or_else(|errno| -i64::from(errno))
}

#[allow(clippy::cast_possible_truncation, reason = "as the kernel does")]
fn int(argument: u64) -> i32 {
    argument as i32
}

/// # Safety
///
/// Clause 1, as that of `sys::arch`.
unsafe fn waitid(kernel: &Kernel, args: [u64; 6]) -> Answer {
    let [by, id, info, how, usage, _] = args;
    let (id, how) = (int(id), int(how));
    let nohang = how & libc::WNOHANG != 0;
    let reaps = how & libc::WNOWAIT == 0;
    // The process is looked up once.
    let state = kernel.lock();
    let at = match int(by).unsigned_abs() {
        libc::P_PIDFD if !state.version.waits => return Err(libc::EINVAL),
        libc::P_PIDFD => state.by_pidfd(id).ok_or(libc::EBADF)?,
        libc::P_PID => state.by_pid(id).ok_or(libc::ECHILD)?,
        _ => panic!("waitid for {by} is not in the model"),
    };
    drop(state);
    let ended = kernel.wait_until(None, |state| {
        let process = &state.processes[at];
        assert!(
            !process.other || (nohang && !reaps),
            "a wait by {id}, which is another process's by now"
        );
        if process.reaped {
            return Some(Err(libc::ECHILD));
        }
        match process.end {
            Some(end) => {
                if reaps {
                    state.reap(at);
                }
                Some(Ok(Some(end)))
            }
            None => nohang.then_some(Ok(None)),
        }
    });
    if reaps {
        kernel.notify();
    }
    let Some(end) = ended.expect("a wait without a limit")? else {
        return Ok(0);
    };
    let mut filled = SigInfo::zeroed();
    (filled.pid, filled.code, filled.status) = (id, end.code, end.status);
    let info: *mut SigInfo = ptr::with_exposed_provenance_mut(address(info));
    // SAFETY: the caller guarantees clause 1: the call writes one siginfo.
    unsafe { info.write(filled) };
    if usage != 0 {
        let usage: *mut Rusage =
            ptr::with_exposed_provenance_mut(address(usage));
        // SAFETY: the caller guarantees clause 1: it writes one rusage.
        unsafe { usage.write(Rusage::zeroed()) };
    }
    Ok(0)
}

/// # Safety
///
/// Clause 1, as that of `sys::arch`.
unsafe fn pidfd_get_info(kernel: &Kernel, args: [u64; 6]) -> Answer {
    let [fd, request, info, ..] = args;
    assert_eq!(request, PidfdInfo::GET, "the only ioctl of the model");
    let state = kernel.lock();
    if !state.version.keeps_status {
        return Err(libc::ENOTTY);
    }
    let at = state.by_pidfd(int(fd)).ok_or(libc::EBADF)?;
    let process = &state.processes[at];
    let mut filled = PidfdInfo::default();
    if let (true, Some(end)) = (process.reaped, process.end) {
        filled.mask = PidfdInfo::EXIT;
        filled.exit_code = end.wait_status();
    }
    drop(state);
    let info: *mut PidfdInfo = ptr::with_exposed_provenance_mut(address(info));
    // SAFETY: the caller guarantees clause 1: the call writes one `PidfdInfo`.
    unsafe { info.write(filled) };
    Ok(0)
}

fn address(argument: u64) -> usize {
    argument.try_into().unwrap()
}

fn kill(state: &mut State, target: i32, signal: i32) -> Answer {
    // The group of a child has its number.
    let at = state.by_pid(target.abs()).ok_or(libc::ESRCH)?;
    assert!(
        !state.processes[at].other,
        "signal {signal} to {target}, which is another process's by now"
    );
    state.signal(at, signal);
    Ok(0)
}

fn pidfd_send_signal(
    state: &mut State,
    fd: i32,
    signal: i32,
    flags: u64,
) -> Answer {
    // The kernel looks at the flags first.
    if flags != 0 && !state.version.groups {
        return Err(libc::EINVAL);
    }
    let at = state.by_pidfd(fd).ok_or(libc::EBADF)?;
    if state.processes[at].reaped {
        return Err(libc::ESRCH);
    }
    state.signal(at, signal);
    Ok(0)
}
