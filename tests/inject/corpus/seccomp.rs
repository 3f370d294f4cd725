//! Seccomp: plans for fault injection whose child installs filters.

use offshoot::Step;

use super::Case;
use crate::util::ENGINES;

/// `return SECCOMP_RET_ALLOW`.
const ALLOW: (u16, u8, u8, u32) = (6, 0, 0, 0x7FFF_0000);

pub(super) const CASES: &[Case] = &[Case {
    name: "seccomp",
    engines: &ENGINES,
    options: |c| c.seccomp([ALLOW]).seccomp([ALLOW, ALLOW]),
    own: |nr, _| (nr == libc::SYS_seccomp).then_some(Step::Seccomp),
}];
