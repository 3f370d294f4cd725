//! Rules: every call that a table may make, and what it may be given.

use core::mem::size_of;

use super::{local, number};
use crate::sys::abi::{
    CAPS_SIZE, COMM_SIZE, ROBUST_HEAD_SIZE, SIGACTION_SIZE, SIGSET_SIZE,
    Timespec,
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
    /// The argument that says which, where one call is many, and its value.
    pub(super) fixed: Option<(usize, u64)>,
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
        fixed: None,
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

/// One of `prctl`'s calls.
const fn prctl(option: libc::c_int) -> Rule {
    let fixed = Some((0, option.unsigned_abs() as u64));
    Rule { fixed, ..plain(libc::SYS_prctl) }
}

/// One of `futex`'s: on one word, with a time or without.
const fn futex(op: libc::c_int, addresses: u8) -> Rule {
    let fixed = Some((1, op.unsigned_abs() as u64));
    let reach = Reach::Bytes(size_of::<Timespec>() as u64);
    Rule { fixed, ..reads(libc::SYS_futex, addresses, reach) }
}

/// Every call that a table may make in memory shared with the parent: none
/// of them maps, unmaps or writes memory that is not named here.
pub(super) const RULES: &[Rule] = &[
    plain(libc::SYS_close_range),
    plain(libc::SYS_dup3),
    plain(libc::SYS_fcntl),
    plain(libc::SYS_close),
    reads(libc::SYS_write, 0b10, Reach::Counted(2, 1)),
    reads(libc::SYS_chdir, 0b1, Reach::String),
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
    reads(libc::SYS_execve, 0b111, Reach::String),
    reads(libc::SYS_execveat, 0b1110, Reach::String),
    plain(libc::SYS_exit_group),
    writes(libc::SYS_set_robust_list, 0b1, ROBUST),
    plain(libc::SYS_gettid),
    plain(libc::SYS_getppid),
    futex(libc::FUTEX_WAIT, 0b1001),
    futex(libc::FUTEX_WAKE, 0b1),
    reads(libc::SYS_chroot, 0b1, Reach::String),
    prctl(libc::PR_SET_PDEATHSIG),
    Rule {
        private: true,
        reads: 0b10,
        reach: Reach::Bytes(COMM_SIZE),
        ..prctl(libc::PR_SET_NAME)
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
