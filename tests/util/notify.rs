//! Notify: system calls of other threads that wait for an answer
//! (seccomp user notification).

use std::os::fd::AsRawFd;
use std::{io, mem};

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Notice {
    pub id: u64,
    pub pid: u32,
    flags: u32,
    pub nr: i32,
    arch: u32,
    at: u64,
    pub args: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// What the call returns.
#[derive(Clone, Copy)]
pub enum Answer {
    /// The call is made.
    Continue,
    /// The call is not made, and returns this number.
    Value(i64),
    /// The call is not made, and fails with this errno.
    Errno(i32),
}

/// Receives a notice; an error where there is none by now.
pub fn receive(listener: &impl AsRawFd) -> io::Result<Notice> {
    const RECEIVE: libc::c_ulong = 0xC050_2100;
    // SAFETY: all zeros is a valid notice, as the kernel requires.
    let mut notice: Notice = unsafe { mem::zeroed() };
    let fd = listener.as_raw_fd();
    // SAFETY: the request writes one notice.
    let got = unsafe { libc::ioctl(fd, RECEIVE as _, &raw mut notice) };
    if got == 0 { Ok(notice) } else { Err(io::Error::last_os_error()) }
}

/// Answers a notice. It fails if the caller was killed meanwhile, which is no
/// error.
pub fn answer(listener: &impl AsRawFd, notice: &Notice, answer: Answer) {
    const SEND: libc::c_ulong = 0xC018_2101;
    const CONTINUE: u32 = 1;
    let (value, error, flags) = match answer {
        Answer::Continue => (0, 0, CONTINUE),
        Answer::Value(value) => (value, 0, 0),
        Answer::Errno(errno) => (0, -errno, 0),
    };
    let response = Response { id: notice.id, value, error, flags };
    let fd = listener.as_raw_fd();
    // SAFETY: the request reads one response.
    unsafe { libc::ioctl(fd, SEND as _, &raw const response) };
}
