//! Rules: every call that a table may make, and what it may be given.

use core::mem::size_of;

use super::{local, number};
use crate::sys::abi::{
    CAPS_SIZE, COMM_SIZE, ROBUST_HEAD_SIZE, SIGACTION_SIZE, SIGSET_SIZE,
    THREAD, Timespec,
};

/// How many bytes a call reads or writes at an address.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// Up to and with a NUL, which the text is sure to have.
    String,
    Bytes(u64),
    /// As many times so many bytes as this argument says.
    Counted(usize, u64),
}

/// How a call may use its arguments. Those that the kernel reads through
/// lie in the plan or in the block, those it writes through in the block;
/// or they are NULL.
pub(super) struct Rule {
    pub(super) nr: u32,
    /// Arguments that must be these numbers: which one, where one call is
    /// many.
    pub(super) fixed: &'static [(usize, u64)],
    /// Only where memory is the child's own.
    pub(super) private: bool,
    pub(super) reads: u8,
    pub(super) writes: u8,
    pub(super) reach: Reach,
}

/// A call without addresses.
const fn plain(nr: libc::c_long) -> Rule {
    Rule {
        nr: number(nr),
        fixed: &[],
        private: false,
        reads: 0,
        writes: 0,
        reach: Reach::Bytes(0),
    }
}

const fn reads(nr: libc::c_long, reads: u8, reach: Reach) -> Rule {
    Rule { reads, reach, ..plain(nr) }
}

const fn writes(nr: libc::c_long, writes: u8, reach: Reach) -> Rule {
    Rule { writes, reach, ..plain(nr) }
}

const SIGACTION: Reach = Reach::Bytes(SIGACTION_SIZE);
const SIGSET: Reach = Reach::Bytes(SIGSET_SIZE);
const ROBUST: Reach = Reach::Bytes(ROBUST_HEAD_SIZE);
const ID: Reach = Reach::Bytes(4);
const IDS: Reach = Reach::Counted(0, 4);
const LOCAL: Rule = plain(0);

const fn only(nr: libc::c_long, fixed: &'static [(usize, u64)]) -> Rule {
    Rule { fixed, ..plain(nr) }
}

/// What a futex call does, and the time that it may take.
const WAIT: &[(usize, u64)] = &[(1, libc::FUTEX_WAIT as u64)];
const WAKE: &[(usize, u64)] = &[(1, libc::FUTEX_WAKE as u64)];
const TIME: Reach = Reach::Bytes(size_of::<Timespec>() as u64);

/// A look at what is pending, which tells nothing but the signal.
const TAKE: &[(usize, u64)] = &[(1, 0), (3, SIGSET_SIZE)];
/// Of no process: only to see whether the call is there.
const NOBODY: &[(usize, u64)] = &[(0, u64::MAX), (1, 0)];

/// A second thread, without a stack: neither uses one.
const SECOND: &[(usize, u64)] = &[(0, THREAD), (1, 0), (2, 0), (3, 0), (4, 0)];

/// What `prctl` sets. Dumpable is only ever taken away.
const DEATH_SIGNAL: &[(usize, u64)] = &[(0, libc::PR_SET_PDEATHSIG as u64)];
const NAME: &[(usize, u64)] = &[(0, libc::PR_SET_NAME as u64)];
const NOT_DUMPABLE: &[(usize, u64)] =
    &[(0, libc::PR_SET_DUMPABLE as u64), (1, 0)];

/// Every call that a table may make in memory shared with the parent: none
/// of them maps, unmaps or writes memory that is not named here.
pub(super) const RULES: &[Rule] = &[
    plain(libc::SYS_close_range),
    plain(libc::SYS_personality),
    plain(libc::SYS_dup3),
    plain(libc::SYS_fcntl),
    plain(libc::SYS_close),
    reads(libc::SYS_write, 0b10, Reach::Counted(2, 1)),
    reads(libc::SYS_chdir, 0b1, Reach::String),
    reads(libc::SYS_faccessat, 0b10, Reach::String),
    plain(libc::SYS_fchdir),
    plain(libc::SYS_getpid),
    plain(libc::SYS_setsid),
    plain(libc::SYS_setpgid),
    plain(libc::SYS_umask),
    reads(libc::SYS_setgroups, 0b10, IDS),
    writes(libc::SYS_getgroups, 0b10, IDS),
    plain(libc::SYS_setresgid),
    writes(libc::SYS_getresgid, 0b111, ID),
    plain(libc::SYS_setresuid),
    writes(libc::SYS_getresuid, 0b111, ID),
    plain(libc::SYS_geteuid),
    plain(libc::SYS_getegid),
    Rule { writes: 0b100, ..reads(libc::SYS_rt_sigaction, 0b10, SIGACTION) },
    reads(libc::SYS_rt_sigprocmask, 0b10, SIGSET),
    Rule {
        reads: 0b101,
        reach: TIME,
        ..only(libc::SYS_rt_sigtimedwait, TAKE)
    },
    reads(libc::SYS_execve, 0b111, Reach::String),
    reads(libc::SYS_execveat, 0b1110, Reach::String),
    plain(libc::SYS_exit_group),
    writes(libc::SYS_set_robust_list, 0b1, ROBUST),
    plain(libc::SYS_gettid),
    plain(libc::SYS_getppid),
    only(libc::SYS_process_mrelease, NOBODY),
    Rule { private: true, ..only(libc::SYS_clone, SECOND) },
    Rule { private: true, ..writes(libc::SYS_set_tid_address, 0b1, ID) },
    Rule { reads: 0b1001, reach: TIME, ..only(libc::SYS_futex, WAIT) },
    Rule { reads: 0b1, reach: TIME, ..only(libc::SYS_futex, WAKE) },
    reads(libc::SYS_chroot, 0b1, Reach::String),
    only(libc::SYS_prctl, DEATH_SIGNAL),
    Rule { private: true, ..only(libc::SYS_prctl, NOT_DUMPABLE) },
    Rule {
        private: true,
        reads: 0b10,
        reach: Reach::Bytes(COMM_SIZE),
        ..only(libc::SYS_prctl, NAME)
    },
    Rule {
        private: true,
        writes: 0b10,
        ..reads(libc::SYS_capget, 0b1, Reach::Bytes(CAPS_SIZE))
    },
    Rule { nr: local::VALUE, ..LOCAL },
    Rule {
        nr: local::COMPARE,
        reads: 0b11,
        reach: Reach::Counted(2, 1),
        ..LOCAL
    },
    Rule { nr: local::DECIMAL, ..LOCAL },
    Rule { nr: local::HOOK, ..LOCAL },
];
