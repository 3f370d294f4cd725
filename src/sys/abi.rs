//! What the kernel reads and writes: structures with asserted layout.

use core::mem::{align_of, offset_of, size_of};

/// `struct clone_args`, as of Linux 5.7 (88 bytes).
///
/// clone3 takes any known size; the smallest that holds what is used is
/// passed, as an older kernel answers E2BIG to fields it does not know.
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

/// The kernel's `struct sigaction` is this long on both architectures.
/// All zeros are `SIG_DFL` with no flags and an empty mask.
pub(crate) const SIGACTION_SIZE: u64 = 32;

/// The kernel's signal set: one bit a signal, signal 1 in bit 0.
pub(crate) const SIGSET_SIZE: u64 = 8;

/// The signals that stop a process and can be blocked, as a set: SIGTSTP,
/// SIGTTIN and SIGTTOU.
pub(crate) const STOPS: u64 = 1 << (libc::SIGTSTP - 1)
    | 1 << (libc::SIGTTIN - 1)
    | 1 << (libc::SIGTTOU - 1);

/// `sizeof(struct robust_list_head)`, the only length the kernel takes.
pub(crate) const ROBUST_HEAD_SIZE: u64 = 24;

/// `TASK_COMM_LEN`: what `PR_SET_NAME` reads at most.
pub(crate) const COMM_SIZE: u64 = 16;

/// The three words, twice, that `capget` writes for a header of version 3:
/// effective, permitted, inheritable.
pub(crate) const CAPS_SIZE: u64 = 24;

/// `_LINUX_CAPABILITY_VERSION_3`, and 0 for the caller itself.
pub(crate) const CAPS_HEADER: u32 = 0x2008_0522;

/// Resources of `prlimit64`: libc's type for them differs by C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `RLIMIT_FSIZE`, in bytes.
    FileSize = 1,
    /// `RLIMIT_NOFILE`: the first number that no descriptor has.
    Descriptors = 7,
}

const _: () = assert!(libc::RLIMIT_FSIZE == 1);
const _: () = assert!(libc::RLIMIT_NOFILE == 7);

/// `CAP_SETGID` and `CAP_SETUID`, as bits of what may be done now.
pub(crate) const SET_IDS: u64 = 1 << 6 | 1 << 7;

/// The stack begins where it would without being moved.
pub(crate) const ADDR_NO_RANDOMIZE: u32 = 0x004_0000;

/// `FUTEX_WAITERS`: makes the kernel wake a waiter as it lets go of a robust
/// lock. The child adds it in the same store as its own id.
pub(crate) const FUTEX_WAITERS: u64 = 0x8000_0000;

/// The flags of a thread of the caller's process: `CLONE_VM`, `CLONE_FS`,
/// `CLONE_FILES`, `CLONE_SIGHAND`, `CLONE_THREAD`.
pub(crate) const THREAD: u64 = 0x1_0F00;

/// `siginfo_t` as `waitid` fills it: 128 bytes, the head of them named.
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

/// `struct timespec` of a 64-bit kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timespec {
    pub(crate) sec: i64,
    pub(crate) nsec: i64,
}

const _: () = assert!(size_of::<Timespec>() == 16);

/// `struct pidfd_info` as of Linux 6.16 (64 bytes from 6.13 on, which take
/// this one too; the exit code from 6.15).
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
    pub(crate) pad: u32,
}

impl PidfdInfo {
    /// `PIDFD_INFO_EXIT`: ask for the wait status of a reaped process.
    pub(crate) const EXIT: u64 = 1 << 3;
    /// `_IOWR(0xFF, 11, struct pidfd_info)` with this 72-byte version.
    pub(crate) const GET: u64 =
        (3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | 0xFF0B;
}

const _: () = assert!(size_of::<PidfdInfo>() == 72);
const _: () = assert!(offset_of!(PidfdInfo, exit_code) == 60);
const _: () = assert!(offset_of!(PidfdInfo, coredump_mask) == 64);
const _: () = assert!(PidfdInfo::GET == 0xC048_FF0B);
