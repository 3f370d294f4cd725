//! Seccomp notifications: what the descriptor of a listener is asked for.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use rustix::fd::{AsRawFd, BorrowedFd};

use super::arch::syscall;
use super::{Errno, bits};

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) flags: u32,
    pub(crate) data: [u64; 8],
}

const _: () = assert!(size_of::<Notification>() == 80);

/// `struct seccomp_notif_resp`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Response {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

const _: () = assert!(size_of::<Response>() == 24);

/// `SECCOMP_IOCTL_NOTIF_RECV`, `SEND`, `ID_VALID`.
const RECEIVE: u64 = 0xC050_2100;
const SEND: u64 = 0xC018_2101;
const ID_VALID: u64 = 0x4008_2102;

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` (Linux 5.5).
const CONTINUE: u32 = 1;

/// Receives a notification of a listener that has one.
pub(crate) fn receive(
    listener: BorrowedFd<'_>,
) -> Result<Notification, Errno> {
    let mut all = Notification::default();
    let at = (&raw mut all).expose_provenance() as u64;
    let args = [bits(listener.as_raw_fd().into()), RECEIVE, at, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the request has the size of the
    // structure, which the call writes, and which is all zeros as it must be.
    let result = unsafe { syscall(libc::SYS_ioctl, args) };
    Errno::of(result).map_or(Ok(all), Err)
}

/// Lets the kernel make a call, or rejects it with ENOSYS.
pub(crate) fn respond(listener: BorrowedFd<'_>, id: u64, makes_call: bool) {
    let (error, flags) =
        if makes_call { (0, CONTINUE) } else { (-libc::ENOSYS, 0) };
    let response = Response { id, val: 0, error, flags };
    let at = (&raw const response).expose_provenance() as u64;
    let args = [bits(listener.as_raw_fd().into()), SEND, at, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the request has the size of the
    // structure, which the call reads. It fails if the caller has died.
    unsafe { syscall(libc::SYS_ioctl, args) };
}

/// Whether a descriptor is a listener.
pub(crate) fn is_listener(fd: BorrowedFd<'_>) -> bool {
    let id = 0u64;
    let at = (&raw const id).expose_provenance() as u64;
    let args = [bits(fd.as_raw_fd().into()), ID_VALID, at, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: a listener reads 8 bytes; the number of
    // the request is one of seccomp's alone, and its size is in it.
    let result = unsafe { syscall(libc::SYS_ioctl, args) };
    Errno::of(result) == Some(Errno(libc::ENOENT))
}
