//! Runs a program that may not execute another one, as sudo does for commands
//! with the tag NOEXEC: a filter notifies of every exec, the first of which is
//! of the program itself, and this process rejects the others.
//!
//! ```sh
//! cargo run --example noexec -- sh -c 'echo shell; ls'
//! ```
#![allow(unsafe_code, reason = "answers notifications by ioctl")]

use std::os::fd::{AsRawFd, OwnedFd};
use std::{env, io, process, thread};

use offshoot::{Command, SeccompFilter};

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND`.
const RECEIVE: u64 = 0xC050_2100;
const SEND: u64 = 0xC018_2101;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xC000_00B7;

/// Notifies of `execve` and `execveat`; a call of another architecture, which
/// has other numbers, kills.
fn filter() -> SeccompFilter {
    let number = |nr: libc::c_long| u32::try_from(nr).unwrap_or(u32::MAX);
    SeccompFilter::from([
        (0x20, 0, 0, 4), // the architecture
        (0x15, 1, 0, ARCH),
        (0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        (0x20, 0, 0, 0), // the number of the call
        (0x15, 1, 0, number(libc::SYS_execve)),
        (0x15, 0, 1, number(libc::SYS_execveat)),
        (0x06, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        (0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ])
}

/// Rejects each call with EACCES, until no process has the filter.
fn reject(listener: &OwnedFd) -> io::Result<()> {
    let mut sizes = libc::seccomp_notif_sizes {
        seccomp_notif: 0,
        seccomp_notif_resp: 0,
        seccomp_data: 0,
    };
    let get = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: writes the structure.
    let got =
        unsafe { libc::syscall(libc::SYS_seccomp, get, 0, &raw mut sizes) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    // At least as large as the structures of this kernel.
    let words = |size: u16| vec![0u64; usize::from(size).div_ceil(8).max(10)];
    let fd = listener.as_raw_fd();
    loop {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: reads and writes one pollfd.
        let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
        if ready > 0 && poll.revents & libc::POLLIN == 0 {
            return Ok(());
        }
        let mut call = words(sizes.seccomp_notif);
        // SAFETY: writes a `seccomp_notif`, for which there is room.
        let done = unsafe { libc::ioctl(fd, RECEIVE as _, call.as_mut_ptr()) };
        if done != 0 {
            // The caller has been killed, or a signal arrived.
            continue;
        }
        let mut answer = words(sizes.seccomp_notif_resp);
        answer[0] = call[0];
        answer[2] = u64::from(u32::MAX - libc::EACCES.unsigned_abs() + 1);
        // SAFETY: reads a `seccomp_notif_resp`, for which there is room.
        unsafe { libc::ioctl(fd, SEND as _, answer.as_ptr()) };
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = env::args_os().skip(1);
    let program = words.next().unwrap_or_else(|| "true".into());
    let mut command = Command::new(program);
    command.no_new_privs(true);
    let mut child =
        command.args(words).seccomp_with_listener(filter()).spawn()?;
    let listener = child.take_seccomp_listener().ok_or("no listener")?;
    let rejects = thread::spawn(move || reject(&listener));
    let status = child.wait()?;
    drop(rejects);
    process::exit(status.code().unwrap_or(1));
}
