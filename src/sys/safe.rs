//! Async-signal-safe system calls for hooks, none of them through libc.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::ffi::CStr;

use super::abi::SIGSET_SIZE;
use super::arch::syscall;
use super::{Errno, bits};

/// The disposition of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The default action (`SIG_DFL`).
    Default,
    /// The signal is ignored (`SIG_IGN`), after exec too.
    Ignore,
}

impl Disposition {
    /// Its value in the kernel's `struct sigaction`.
    pub(crate) fn handler(self) -> u64 {
        match self {
            Disposition::Default => libc::SIG_DFL as u64,
            Disposition::Ignore => libc::SIG_IGN as u64,
        }
    }
}

/// How a signal mask changes; signal `n` is bit `n - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaskChange {
    /// Adds these to the blocked signals.
    Block(u64),
    /// Removes these from the blocked signals.
    Unblock(u64),
    /// Blocks these and no others.
    Set(u64),
}

fn outcome(result: i64) -> Result<u64, Errno> {
    Errno::of(result).map_or(Ok(bits(result)), Err)
}

/// The calls whose arguments are all numbers, no addresses.
#[derive(Clone, Copy)]
enum Plain {
    Getpid,
    Getppid,
    Setresuid,
    Setresgid,
    Dup,
    Dup3,
    Close,
    Fchdir,
    Setsid,
    Setpgid,
    Umask,
    Fcntl,
    Ioctl,
    Prctl,
}

fn plain(call: Plain, args: [i64; 3]) -> Result<u64, Errno> {
    let nr = match call {
        Plain::Getpid => libc::SYS_getpid,
        Plain::Getppid => libc::SYS_getppid,
        Plain::Setresuid => libc::SYS_setresuid,
        Plain::Setresgid => libc::SYS_setresgid,
        Plain::Dup => libc::SYS_dup,
        Plain::Dup3 => libc::SYS_dup3,
        Plain::Close => libc::SYS_close,
        Plain::Fchdir => libc::SYS_fchdir,
        Plain::Setsid => libc::SYS_setsid,
        Plain::Setpgid => libc::SYS_setpgid,
        Plain::Umask => libc::SYS_umask,
        Plain::Fcntl => libc::SYS_fcntl,
        Plain::Ioctl => libc::SYS_ioctl,
        Plain::Prctl => libc::SYS_prctl,
    };
    let [a, b, c] = args.map(bits);
    // SAFETY: clause 1 of `syscall`: no call of `Plain` takes an address; the
    // requests given to ioctl, prctl and fcntl take a number.
    outcome(unsafe { syscall(nr, [a, b, c, 0, 0, 0]) })
}

fn done(call: Plain, args: [i64; 3]) -> Result<(), Errno> {
    plain(call, args).map(drop)
}

fn fd(result: Result<u64, Errno>) -> Result<i32, Errno> {
    result.and_then(|n| i32::try_from(n).map_err(|_| Errno(libc::EBADF)))
}

fn size(result: Result<u64, Errno>) -> Result<usize, Errno> {
    result.and_then(|n| usize::try_from(n).map_err(|_| Errno(libc::EIO)))
}

pub(crate) fn getpid() -> u32 {
    let pid = plain(Plain::Getpid, [0; 3]).unwrap_or_default();
    u32::try_from(pid).unwrap_or_default()
}

/// 0 if the parent is in another PID namespace.
pub(crate) fn getppid() -> u32 {
    let pid = plain(Plain::Getppid, [0; 3]).unwrap_or_default();
    u32::try_from(pid).unwrap_or_default()
}

pub(crate) fn dup(from: i32) -> Result<i32, Errno> {
    fd(plain(Plain::Dup, [from.into(), 0, 0]))
}

/// For equal numbers, which dup3 rejects, clears the close-on-exec flag.
pub(crate) fn dup2(from: i32, to: i32) -> Result<(), Errno> {
    if from == to {
        let setfd = i64::from(libc::F_SETFD);
        return done(Plain::Fcntl, [from.into(), setfd, 0]);
    }
    done(Plain::Dup3, [from.into(), to.into(), 0])
}

pub(crate) fn close(fd: i32) -> Result<(), Errno> {
    done(Plain::Close, [fd.into(), 0, 0])
}

pub(crate) fn set_cloexec(fd: i32) -> Result<(), Errno> {
    let (setfd, flag) = (libc::F_SETFD.into(), libc::FD_CLOEXEC.into());
    done(Plain::Fcntl, [fd.into(), setfd, flag])
}

pub(crate) fn fchdir(fd: i32) -> Result<(), Errno> {
    done(Plain::Fchdir, [fd.into(), 0, 0])
}

pub(crate) fn setsid() -> Result<(), Errno> {
    done(Plain::Setsid, [0; 3])
}

pub(crate) fn setpgid(group: u32) -> Result<(), Errno> {
    done(Plain::Setpgid, [0, group.into(), 0])
}

pub(crate) fn umask(mask: u32) -> u32 {
    let old = plain(Plain::Umask, [mask.into(), 0, 0]).unwrap_or_default();
    u32::try_from(old).unwrap_or_default()
}

pub(crate) fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32, Errno> {
    let args = [
        bits(i64::from(libc::AT_FDCWD)),
        path.as_ptr().expose_provenance() as u64,
        bits(i64::from(flags)),
        u64::from(mode),
        0,
        0,
    ];
    // SAFETY: clause 1 of `syscall`: the path is a C string, borrowed for
    // the call.
    fd(outcome(unsafe { syscall(libc::SYS_openat, args) }))
}

pub(crate) fn chdir(path: &CStr) -> Result<(), Errno> {
    let at = path.as_ptr().expose_provenance() as u64;
    // SAFETY: clause 1 of `syscall`: the path is a C string, borrowed for
    // the call.
    let result = unsafe { syscall(libc::SYS_chdir, [at, 0, 0, 0, 0, 0]) };
    outcome(result).map(drop)
}

pub(crate) fn read(fd: i32, bytes: &mut [u8]) -> Result<usize, Errno> {
    let at = bytes.as_mut_ptr().expose_provenance() as u64;
    let args = [bits(fd.into()), at, bytes.len() as u64, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call writes the slice, which is
    // borrowed for it, and no more.
    size(outcome(unsafe { syscall(libc::SYS_read, args) }))
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    let at = bytes.as_ptr().expose_provenance() as u64;
    let args = [bits(fd.into()), at, bytes.len() as u64, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call reads the slice, which is
    // borrowed for it, and no more.
    size(outcome(unsafe { syscall(libc::SYS_write, args) }))
}

/// Requests whose argument is a number.
const BY_VALUE: [u64; 4] =
    [libc::TIOCSCTTY, libc::TIOCNOTTY, libc::FIOCLEX, libc::FIONCLEX];

/// Requests whose argument is the address of an int.
const BY_ADDRESS: [u64; 2] = [libc::TIOCSPGRP, libc::FIONBIO];

pub(crate) fn ioctl(fd: i32, request: u64, value: i32) -> Result<(), Errno> {
    if BY_VALUE.contains(&request) {
        let request = super::number(request);
        return done(Plain::Ioctl, [fd.into(), request, value.into()]);
    }
    if !BY_ADDRESS.contains(&request) {
        return Err(Errno(libc::EINVAL));
    }
    let at = (&raw const value).expose_provenance() as u64;
    let args = [bits(fd.into()), request, at, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the listed requests read one int, and
    // `value` is one, alive to the end of this body.
    let result = unsafe { syscall(libc::SYS_ioctl, args) };
    outcome(result).map(drop)
}

pub(crate) fn setresuid(ids: [u32; 3]) -> Result<(), Errno> {
    done(Plain::Setresuid, ids.map(i64::from))
}

pub(crate) fn setresgid(ids: [u32; 3]) -> Result<(), Errno> {
    done(Plain::Setresgid, ids.map(i64::from))
}

pub(crate) fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    let at = groups.as_ptr().expose_provenance() as u64;
    let args = [groups.len() as u64, at, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call reads as many ids of 32 bits as
    // the slice has.
    outcome(unsafe { syscall(libc::SYS_setgroups, args) }).map(drop)
}

/// Options that return a number and change nothing.
const READS: [i32; 6] = [
    libc::PR_GET_DUMPABLE,
    libc::PR_GET_NO_NEW_PRIVS,
    libc::PR_GET_KEEPCAPS,
    libc::PR_GET_SECUREBITS,
    libc::PR_GET_TIMERSLACK,
    libc::PR_CAPBSET_READ,
];

pub(crate) fn prctl_get(option: i32, value: u64) -> Result<u64, Errno> {
    if !READS.contains(&option) {
        return Err(Errno(libc::EINVAL));
    }
    plain(Plain::Prctl, [option.into(), super::number(value), 0])
}

/// Options that take a number and change neither memory nor the dumpable
/// flag.
const NUMBERS: [i32; 7] = [
    libc::PR_SET_PDEATHSIG,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_SET_KEEPCAPS,
    libc::PR_SET_CHILD_SUBREAPER,
    libc::PR_SET_TIMERSLACK,
    libc::PR_SET_SECUREBITS,
    libc::PR_CAPBSET_DROP,
];

pub(crate) fn prctl(option: i32, value: u64) -> Result<(), Errno> {
    if !NUMBERS.contains(&option) {
        return Err(Errno(libc::EINVAL));
    }
    done(Plain::Prctl, [option.into(), super::number(value), 0])
}

pub(crate) fn sigaction(
    signal: i32,
    disposition: Disposition,
) -> Result<(), Errno> {
    let action = [disposition.handler(), 0, 0, 0];
    let at = action.as_ptr().expose_provenance() as u64;
    let args = [bits(signal.into()), at, 0, SIGSET_SIZE, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call reads one kernel sigaction of
    // 32 bytes, which `action` is; its handler is no function.
    let result = unsafe { syscall(libc::SYS_rt_sigaction, args) };
    outcome(result).map(drop)
}

pub(crate) fn setrlimit(
    resource: u32,
    soft: u64,
    hard: u64,
) -> Result<(), Errno> {
    let limit = [soft, hard];
    let at = limit.as_ptr().expose_provenance() as u64;
    let args = [0, u64::from(resource), at, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call reads one rlimit64, two
    // words; the address for the old one is NULL.
    let result = unsafe { syscall(libc::SYS_prlimit64, args) };
    outcome(result).map(drop)
}
