//! Seccomp: plans for fault injection whose child installs filters.

use offshoot::Step;

use super::{Case, no_new_privs};
use crate::util::ENGINES;

/// `return SECCOMP_RET_ALLOW`.
const ALLOW: (u16, u8, u8, u32) = (6, 0, 0, 0x7FFF_0000);

pub(super) const CASES: &[Case] = &[Case {
    name: "seccomp",
    engines: &ENGINES,
    options: |c| c.no_new_privs(true).seccomp([ALLOW]).seccomp([ALLOW]),
    own: |nr, args| match nr {
        libc::SYS_seccomp => Some(Step::Seccomp),
        nr => no_new_privs(nr, args),
    },
}];
