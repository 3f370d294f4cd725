//! Rules: every call that a table may make, and its permitted arguments.

use core::mem::size_of;

use super::{local, number};
use crate::sys::abi::{
    CAPS_SIZE, COMM_SIZE, JOIN_SESSION_KEYRING, ROBUST_HEAD_SIZE,
    SIGACTION_SIZE, SIGSET_SIZE, STATFS_SIZE, THREAD_FLAGS, TIOCNOTTY,
    TIOCSCTTY, TIOCSPGRP, Timespec,
};

/// How many bytes a call reads or writes at an address.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// Up to a NUL, which the string table is verified to end in.
    String,
    Bytes(u64),
    /// This argument is a count of elements of so many bytes.
    Counted(usize, u64),
    /// This argument is a count of bits, read in words of 64.
    Bits(usize),
    /// A `sock_fprog` and the instructions that it points to.
    Program,
}

/// How a call may use its arguments. An address that the kernel reads at is in
/// the plan or in the block, one that it writes at in the block; or it is
/// NULL.
pub(super) struct Rule {
    pub(super) nr: u32,
    /// Arguments that must have these values, each with its index: the
    /// operation of a call that has many.
    pub(super) fixed: &'static [(usize, u64)],
    /// Allowed only where the child has memory of its own.
    pub(super) private: bool,
    pub(super) reads: u8,
    pub(super) writes: u8,
    pub(super) extent: Extent,
}

/// A call without addresses.
const fn plain(nr: libc::c_long) -> Rule {
    Rule {
        nr: number(nr),
        fixed: &[],
        private: false,
        reads: 0,
        writes: 0,
        extent: Extent::Bytes(0),
    }
}

const fn reads(nr: libc::c_long, reads: u8, extent: Extent) -> Rule {
    Rule { reads, extent, ..plain(nr) }
}

const fn writes(nr: libc::c_long, writes: u8, extent: Extent) -> Rule {
    Rule { writes, extent, ..plain(nr) }
}

const SIGACTION: Extent = Extent::Bytes(SIGACTION_SIZE);
const SIGSET: Extent = Extent::Bytes(SIGSET_SIZE);
const ROBUST: Extent = Extent::Bytes(ROBUST_HEAD_SIZE);
const ID: Extent = Extent::Bytes(4);
const IDS: Extent = Extent::Counted(0, 4);
const LOCAL: Rule = plain(0);

const fn only(nr: libc::c_long, fixed: &'static [(usize, u64)]) -> Rule {
    Rule { fixed, ..plain(nr) }
}

/// The operation of a futex call, and its timeout.
const WAIT: &[(usize, u64)] = &[(1, libc::FUTEX_WAIT as u64)];
const WAKE: &[(usize, u64)] = &[(1, libc::FUTEX_WAKE as u64)];
const TIMEOUT: Extent = Extent::Bytes(size_of::<Timespec>() as u64);

/// Takes a pending signal: no siginfo is written.
const NO_SIGINFO: &[(usize, u64)] = &[(1, 0), (3, SIGSET_SIZE)];
/// Of no process: tells only whether the call is available.
const NO_PROCESS: &[(usize, u64)] = &[(0, u64::MAX), (1, 0)];

/// `PTRACE_TRACEME`, and what it ignores.
const TRACEME: &[(usize, u64)] = &[(0, 0), (1, 0), (2, 0), (3, 0)];

/// `keyctl` has some thirty operations.
const JOIN_SESSION: &[(usize, u64)] = &[(0, JOIN_SESSION_KEYRING as u64)];
const ADD_FILTER: &[(usize, u64)] =
    &[(0, libc::SECCOMP_SET_MODE_FILTER as u64)];

/// The nice value of the calling thread.
const OWN_PRIORITY: &[(usize, u64)] =
    &[(0, libc::PRIO_PROCESS as u64), (1, 0)];

/// `unshare` of memory, descriptors or file system data is never wanted.
const NEW_CGROUP_NAMESPACE: &[(usize, u64)] =
    &[(0, libc::CLONE_NEWCGROUP as u64)];
/// Neither a source nor a type: a change of mounts that exist.
const CHANGE_MOUNTS: &[(usize, u64)] = &[(0, 0), (2, 0), (4, 0)];

/// A second thread, without a stack: neither thread uses one.
const NEW_THREAD: &[(usize, u64)] =
    &[(0, THREAD_FLAGS), (1, 0), (2, 0), (3, 0), (4, 0)];

/// The operations of `ioctl`. A terminal of another session is never taken:
/// the argument would be 1.
const SET_TERMINAL: &[(usize, u64)] = &[(1, TIOCSCTTY), (2, 0)];
const SET_FOREGROUND: &[(usize, u64)] = &[(1, TIOCSPGRP)];
const NONBLOCKING: &[(usize, u64)] = &[(1, libc::FIONBIO)];
const LEAVE_TERMINAL: &[(usize, u64)] = &[(1, TIOCNOTTY), (2, 0)];

/// The scheduler and the limits of the calling thread or process.
const OWN: &[(usize, u64)] = &[(0, 0)];
const OWN_ATTR: &[(usize, u64)] = &[(0, 0), (2, 0)];
const OWN_LIMITS: &[(usize, u64)] = &[(0, 0), (3, 0)];
const IOPRIO_SELF: &[(usize, u64)] = &[(0, 1), (1, 0)];

/// `PR_SET_MEMORY_MERGE`; `PR_SCHED_CORE_CREATE` for the calling thread.
const MEMORY_MERGE: &[(usize, u64)] = &[(0, 67), (2, 0), (3, 0), (4, 0)];
const CORE_COOKIE: &[(usize, u64)] = &[
    (0, libc::PR_SCHED_CORE as u64),
    (1, libc::PR_SCHED_CORE_CREATE as u64),
    (2, 0),
    (3, 0),
    (4, 0),
];
const NO_HUGE_PAGES: &[(usize, u64)] =
    &[(0, libc::PR_SET_THP_DISABLE as u64), (2, 0), (3, 0), (4, 0)];
const TIMER_SLACK: &[(usize, u64)] = &[(0, libc::PR_SET_TIMERSLACK as u64)];

/// The options of `prctl`. The dumpable flag can only be cleared.
const DEATH_SIGNAL: &[(usize, u64)] = &[(0, libc::PR_SET_PDEATHSIG as u64)];
const NAME: &[(usize, u64)] = &[(0, libc::PR_SET_NAME as u64)];
const NOT_DUMPABLE: &[(usize, u64)] =
    &[(0, libc::PR_SET_DUMPABLE as u64), (1, 0)];

/// It cannot be cleared.
const SET_NO_NEW_PRIVS: &[(usize, u64)] =
    &[(0, libc::PR_SET_NO_NEW_PRIVS as u64), (1, 1), (2, 0), (3, 0), (4, 0)];
const GET_NO_NEW_PRIVS: &[(usize, u64)] =
    &[(0, libc::PR_GET_NO_NEW_PRIVS as u64), (1, 0), (2, 0), (3, 0), (4, 0)];

/// Capabilities of the calling thread. None of these writes memory.
const REST: (usize, u64) = (3, 0);
const READ_BOUNDING: &[(usize, u64)] =
    &[(0, libc::PR_CAPBSET_READ as u64), (2, 0), REST, (4, 0)];
const DROP_BOUNDING: &[(usize, u64)] =
    &[(0, libc::PR_CAPBSET_DROP as u64), (2, 0), REST, (4, 0)];
const SET_KEEPCAPS: &[(usize, u64)] =
    &[(0, libc::PR_SET_KEEPCAPS as u64), (2, 0), REST, (4, 0)];
const GET_KEEPCAPS: &[(usize, u64)] =
    &[(0, libc::PR_GET_KEEPCAPS as u64), (2, 0), REST, (4, 0)];
const SET_SECUREBITS: &[(usize, u64)] =
    &[(0, libc::PR_SET_SECUREBITS as u64), (2, 0), REST, (4, 0)];
const GET_SECUREBITS: &[(usize, u64)] =
    &[(0, libc::PR_GET_SECUREBITS as u64), (2, 0), REST, (4, 0)];
const AMBIENT: &[(usize, u64)] =
    &[(0, libc::PR_CAP_AMBIENT as u64), REST, (4, 0)];

/// Every call that a table may make. In memory shared with the parent none of
/// them maps, unmaps or writes memory other than its arguments say.
pub(super) const RULES: &[Rule] = &[
    plain(libc::SYS_close_range),
    plain(libc::SYS_personality),
    plain(libc::SYS_dup3),
    plain(libc::SYS_fcntl),
    plain(libc::SYS_close),
    reads(libc::SYS_write, 0b10, Extent::Counted(2, 1)),
    Rule {
        reads: 0b10,
        extent: Extent::String,
        ..only(libc::SYS_keyctl, JOIN_SESSION)
    },
    reads(libc::SYS_openat, 0b10, Extent::String),
    plain(libc::SYS_landlock_restrict_self),
    only(libc::SYS_ptrace, TRACEME),
    writes(libc::SYS_fstatfs, 0b10, Extent::Bytes(STATFS_SIZE)),
    reads(libc::SYS_chdir, 0b1, Extent::String),
    reads(libc::SYS_faccessat, 0b10, Extent::String),
    plain(libc::SYS_fchdir),
    plain(libc::SYS_getpid),
    // Of namespaces: the nsproxy is the task's own, whatever it shares.
    only(libc::SYS_unshare, NEW_CGROUP_NAMESPACE),
    Rule {
        reads: 0b10,
        extent: Extent::String,
        ..only(libc::SYS_mount, CHANGE_MOUNTS)
    },
    reads(libc::SYS_sethostname, 0b1, Extent::Counted(1, 1)),
    reads(libc::SYS_setdomainname, 0b1, Extent::Counted(1, 1)),
    plain(libc::SYS_setsid),
    plain(libc::SYS_setpgid),
    plain(libc::SYS_getpgid),
    only(libc::SYS_ioctl, SET_TERMINAL),
    Rule { reads: 0b100, extent: ID, ..only(libc::SYS_ioctl, SET_FOREGROUND) },
    only(libc::SYS_ioctl, LEAVE_TERMINAL),
    Rule { reads: 0b100, extent: ID, ..only(libc::SYS_ioctl, NONBLOCKING) },
    plain(libc::SYS_umask),
    only(libc::SYS_setpriority, OWN_PRIORITY),
    Rule {
        reads: 0b100,
        extent: ID,
        ..only(libc::SYS_sched_setscheduler, OWN)
    },
    Rule {
        reads: 0b10,
        extent: Extent::Bytes(48),
        ..only(libc::SYS_sched_setattr, OWN_ATTR)
    },
    Rule {
        reads: 0b100,
        extent: Extent::Counted(1, 1),
        ..only(libc::SYS_sched_setaffinity, OWN)
    },
    only(libc::SYS_ioprio_set, IOPRIO_SELF),
    Rule {
        reads: 0b100,
        extent: Extent::Bytes(16),
        ..only(libc::SYS_prlimit64, OWN_LIMITS)
    },
    reads(libc::SYS_set_mempolicy, 0b10, Extent::Bits(2)),
    only(libc::SYS_prctl, TIMER_SLACK),
    only(libc::SYS_prctl, CORE_COOKIE),
    // As for ids, the plan of these has private memory.
    only(libc::SYS_prctl, NO_HUGE_PAGES),
    only(libc::SYS_prctl, MEMORY_MERGE),
    reads(libc::SYS_setgroups, 0b10, IDS),
    writes(libc::SYS_getgroups, 0b10, IDS),
    plain(libc::SYS_setresgid),
    writes(libc::SYS_getresgid, 0b111, ID),
    plain(libc::SYS_setresuid),
    writes(libc::SYS_getresuid, 0b111, ID),
    Rule { writes: 0b100, ..reads(libc::SYS_rt_sigaction, 0b10, SIGACTION) },
    reads(libc::SYS_rt_sigprocmask, 0b10, SIGSET),
    Rule {
        reads: 0b101,
        extent: TIMEOUT,
        ..only(libc::SYS_rt_sigtimedwait, NO_SIGINFO)
    },
    reads(libc::SYS_execve, 0b111, Extent::String),
    reads(libc::SYS_execveat, 0b1110, Extent::String),
    plain(libc::SYS_exit_group),
    writes(libc::SYS_set_robust_list, 0b1, ROBUST),
    plain(libc::SYS_gettid),
    plain(libc::SYS_getppid),
    only(libc::SYS_process_mrelease, NO_PROCESS),
    Rule { private: true, ..only(libc::SYS_clone, NEW_THREAD) },
    Rule { private: true, ..writes(libc::SYS_set_tid_address, 0b1, ID) },
    Rule { reads: 0b1001, extent: TIMEOUT, ..only(libc::SYS_futex, WAIT) },
    Rule { reads: 0b1, extent: TIMEOUT, ..only(libc::SYS_futex, WAKE) },
    reads(libc::SYS_chroot, 0b1, Extent::String),
    only(libc::SYS_prctl, DEATH_SIGNAL),
    only(libc::SYS_prctl, READ_BOUNDING),
    only(libc::SYS_prctl, DROP_BOUNDING),
    only(libc::SYS_prctl, SET_KEEPCAPS),
    only(libc::SYS_prctl, GET_KEEPCAPS),
    only(libc::SYS_prctl, SET_SECUREBITS),
    only(libc::SYS_prctl, GET_SECUREBITS),
    only(libc::SYS_prctl, AMBIENT),
    reads(libc::SYS_capset, 0b11, Extent::Bytes(CAPS_SIZE)),
    only(libc::SYS_prctl, SET_NO_NEW_PRIVS),
    only(libc::SYS_prctl, GET_NO_NEW_PRIVS),
    Rule { private: true, ..only(libc::SYS_prctl, NOT_DUMPABLE) },
    Rule {
        private: true,
        reads: 0b10,
        extent: Extent::Bytes(COMM_SIZE),
        ..only(libc::SYS_prctl, NAME)
    },
    Rule {
        writes: 0b10,
        ..reads(libc::SYS_capget, 0b1, Extent::Bytes(CAPS_SIZE))
    },
    Rule {
        reads: 0b100,
        extent: Extent::Program,
        ..only(libc::SYS_seccomp, ADD_FILTER)
    },
    Rule { nr: local::VALUE, ..LOCAL },
    Rule {
        nr: local::COMPARE,
        reads: 0b11,
        extent: Extent::Counted(2, 1),
        ..LOCAL
    },
    Rule { nr: local::DECIMAL, ..LOCAL },
    Rule { nr: local::CALLBACK, ..LOCAL },
];
