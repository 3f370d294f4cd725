//! Descriptors: plans for fault injection with files that the child opens, and
//! with calls of the user's own.

use offshoot::{ChildOpenOptions, Step};

use super::Case;
use crate::util::ENGINES;

pub(super) const CASES: &[Case] = &[OPENED, RAW];

const OPENED: Case = Case {
    name: "opened",
    engines: &ENGINES,
    options: |it| {
        let mut read = ChildOpenOptions::new();
        it.open_in_child(9, "/dev/null", read.read(true));
        it.nonblocking(9, false)
    },
    own: |nr, args| match (nr, args[1]) {
        (libc::SYS_openat, _) => Some(Step::OpenInChild),
        // The helper's descriptors have high numbers.
        (libc::SYS_close, _) if args[0] < 9 => Some(Step::OpenInChild),
        // The only one with this target.
        (libc::SYS_dup3, 9) => Some(Step::OpenInChild),
        (libc::SYS_ioctl, libc::FIONBIO) => Some(Step::Nonblocking),
        // Of this number only.
        (libc::SYS_fcntl, SETFD) if args[0] == 9 => Some(Step::OpenInChild),
        _ => None,
    },
};

const RAW: Case = Case {
    name: "raw",
    engines: &ENGINES,
    options: |it| {
        // SAFETY: the call takes no argument and concerns no memory.
        unsafe { it.raw_syscall_shared("ids", libc::SYS_getuid, []) }
    },
    own: |nr, _| (nr == libc::SYS_getuid).then_some(Step::RawSyscall),
};

const SETFD: u64 = libc::F_SETFD as u64;
