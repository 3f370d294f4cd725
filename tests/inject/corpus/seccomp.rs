//! Seccomp: plans for fault injection whose child installs filters.

use offshoot::Step;

use super::Case;
use crate::util::ENGINES;

/// `return SECCOMP_RET_ALLOW`.
const ALLOW: (u16, u8, u8, u32) = (6, 0, 0, 0x7FFF_0000);

pub(super) const CASES: &[Case] = &[Case {
    name: "seccomp",
    engines: &ENGINES,
    options: |c| c.no_new_privs(true).seccomp([ALLOW]).seccomp([ALLOW]),
    own: |nr, args| {
        let option = [libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS];
        let option = option.map(|option| u64::from(option.unsigned_abs()));
        match nr {
            libc::SYS_seccomp => Some(Step::Seccomp),
            libc::SYS_prctl if option.contains(&args[0]) => {
                Some(Step::NoNewPrivs)
            }
            _ => None,
        }
    },
}];
