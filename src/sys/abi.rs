//! Kernel ABI: structures with asserted layout, and constants that libc lacks.

use core::mem::{align_of, offset_of, size_of};

/// `struct clone_args`, as of Linux 5.7 (88 bytes).
///
/// The smallest size with the fields that are used is passed: an older kernel
/// fails with E2BIG if a field that it does not know is set.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

impl CloneArgs {
    /// The size of the first version (Linux 5.3): up to `tls`.
    pub(crate) const SIZE_VER0: u64 = 64;
    /// With `set_tid` and its length (Linux 5.5).
    pub(crate) const SIZE_VER1: u64 = 80;
    /// With `cgroup` (Linux 5.7).
    pub(crate) const SIZE_VER2: u64 = 88;
}

const _: () = assert!(size_of::<CloneArgs>() == 88);
const _: () = assert!(align_of::<CloneArgs>() == 8);
const _: () = assert!(offset_of!(CloneArgs, set_tid) == 64);
const _: () = assert!(offset_of!(CloneArgs, cgroup) == 80);

/// The size of the kernel's `struct sigaction` on both architectures. All
/// zeros are `SIG_DFL` with no flags and an empty mask.
pub(crate) const SIGACTION_SIZE: u64 = 32;

/// The size of the kernel's signal set: one bit a signal, signal 1 in bit 0.
pub(crate) const SIGSET_SIZE: u64 = 8;

/// The set of signals that stop a process and can be blocked: SIGTSTP, SIGTTIN
/// and SIGTTOU.
pub(crate) const STOP_SIGNALS: u64 = 1 << (libc::SIGTSTP - 1)
    | 1 << (libc::SIGTTIN - 1)
    | 1 << (libc::SIGTTOU - 1);

/// `sizeof(struct robust_list_head)`, the only length that the kernel accepts.
pub(crate) const ROBUST_HEAD_SIZE: u64 = 24;

/// `TASK_COMM_LEN`: the most that `PR_SET_NAME` reads.
pub(crate) const COMM_SIZE: u64 = 16;

/// The size of what `capget` writes for a header of version 3: effective,
/// permitted and inheritable in 32 bits each, twice.
pub(crate) const CAPS_SIZE: u64 = 24;

/// The size of `struct statfs`, which begins with the type of the file system
/// in 64 bits.
pub(crate) const STATFS_SIZE: u64 = 120;

/// `KEYCTL_JOIN_SESSION_KEYRING`.
pub(crate) const JOIN_SESSION_KEYRING: u32 = 1;

/// `PROC_SUPER_MAGIC`.
pub(crate) const PROC_SUPER_MAGIC: u32 = 0x9FA0;

/// `_LINUX_CAPABILITY_VERSION_3`.
pub(crate) const CAPS_HEADER: u32 = 0x2008_0522;

/// Resources of `prlimit64`, whose type in libc differs by C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `RLIMIT_FSIZE`, in bytes.
    FileSize = 1,
    /// `RLIMIT_NOFILE`: one more than the highest permitted descriptor.
    Descriptors = 7,
}

const _: () = assert!(libc::RLIMIT_FSIZE == 1);
const _: () = assert!(libc::RLIMIT_NOFILE == 7);

/// Operations of `ioctl` on a terminal, whose type in libc differs by C library.
pub(crate) const TIOCSCTTY: u64 = 0x540E;
pub(crate) const TIOCSPGRP: u64 = 0x5410;
pub(crate) const TIOCNOTTY: u64 = 0x5422;

/// `CAP_SETGID` and `CAP_SETUID`, as bits of the effective capabilities.
pub(crate) const SET_IDS: u64 = 1 << 6 | 1 << 7;

/// A personality flag: exec places the stack at a fixed address.
pub(crate) const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;

/// Makes the kernel wake a waiter when it releases a robust futex. The child
/// sets it in the same write as its own thread id.
pub(crate) const FUTEX_WAITERS: u64 = 0x8000_0000;

/// The clone flags of a thread: `CLONE_VM`, `CLONE_FS`, `CLONE_FILES`,
/// `CLONE_SIGHAND`, `CLONE_THREAD`.
pub(crate) const THREAD_FLAGS: u64 = 0x1_0F00;

/// `siginfo_t` as `waitid` fills it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SigInfo {
    pub(crate) signo: i32,
    pub(crate) errno: i32,
    pub(crate) code: i32,
    pad: i32,
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) status: i32,
    rest: [u32; 25],
}

impl SigInfo {
    pub(crate) const fn zeroed() -> SigInfo {
        SigInfo {
            signo: 0,
            errno: 0,
            code: 0,
            pad: 0,
            pid: 0,
            uid: 0,
            status: 0,
            rest: [0; 25],
        }
    }
}

const _: () = assert!(size_of::<SigInfo>() == 128);
const _: () = assert!(offset_of!(SigInfo, code) == 8);
const _: () = assert!(offset_of!(SigInfo, pid) == 16);
const _: () = assert!(offset_of!(SigInfo, status) == 24);

/// `struct rusage` of a 64-bit kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rusage {
    /// Seconds and microseconds.
    pub(crate) user: [i64; 2],
    pub(crate) system: [i64; 2],
    /// In KiB.
    pub(crate) max_rss: i64,
    unused: [i64; 3],
    pub(crate) minor_faults: i64,
    pub(crate) major_faults: i64,
    swaps: i64,
    pub(crate) blocks_in: i64,
    pub(crate) blocks_out: i64,
    messages: [i64; 2],
    signals: i64,
    pub(crate) voluntary_switches: i64,
    pub(crate) involuntary_switches: i64,
}

impl Rusage {
    pub(crate) const fn zeroed() -> Rusage {
        Rusage {
            user: [0; 2],
            system: [0; 2],
            max_rss: 0,
            unused: [0; 3],
            minor_faults: 0,
            major_faults: 0,
            swaps: 0,
            blocks_in: 0,
            blocks_out: 0,
            messages: [0; 2],
            signals: 0,
            voluntary_switches: 0,
            involuntary_switches: 0,
        }
    }
}

const _: () = assert!(size_of::<Rusage>() == size_of::<libc::rusage>());
const _: () = assert!(offset_of!(Rusage, max_rss) == 32);
const _: () = assert!(offset_of!(Rusage, minor_faults) == 64);
const _: () = assert!(offset_of!(Rusage, voluntary_switches) == 128);

/// `struct timespec` of a 64-bit kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timespec {
    pub(crate) sec: i64,
    pub(crate) nsec: i64,
}

const _: () = assert!(size_of::<Timespec>() == 16);

/// `struct pidfd_info` as of Linux 6.19. Kernels from 6.13 on, where it has 64
/// bytes, accept this size too; the exit code exists from 6.15 on.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PidfdInfo {
    pub(crate) mask: u64,
    pub(crate) cgroupid: u64,
    pub(crate) pid: u32,
    pub(crate) tgid: u32,
    pub(crate) ppid: u32,
    pub(crate) ids: [u32; 8],
    pub(crate) exit_code: i32,
    pub(crate) coredump_mask: u32,
    pub(crate) coredump_signal: u32,
    pub(crate) supported_mask: u64,
}

impl PidfdInfo {
    /// `PIDFD_INFO_EXIT`: requests the wait status of a reaped process.
    pub(crate) const EXIT: u64 = 1 << 3;
    /// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)` with 80 bytes.
    pub(crate) const GET: u64 =
        (3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | 0xFF0B;
}

const _: () = assert!(size_of::<PidfdInfo>() == 80);
const _: () = assert!(offset_of!(PidfdInfo, exit_code) == 60);
const _: () = assert!(offset_of!(PidfdInfo, coredump_mask) == 64);
const _: () = assert!(PidfdInfo::GET == 0xC050_FF0B);
