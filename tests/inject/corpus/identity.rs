//! Identity: plans for fault injection with ids, capabilities and privileges.

use offshoot::Step;

use super::{Case, none};
use crate::util::{ENGINES, PRIVATE, is_root};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "ids apart",
        engines: &PRIVATE,
        options: |c| {
            let root = is_root();
            if root { c.resuid(1, 2, 3).resgid(4, 5, 6) } else { c }
        },
        own: none,
    },
    Case {
        name: "umask_or",
        engines: &ENGINES,
        options: |c| c.umask_or(0o22),
        own: none,
    },
    Case {
        name: "no_new_privs",
        engines: &ENGINES,
        options: |c| c.no_new_privs(true),
        own: |nr, args| {
            let option =
                [libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS];
            let option = option.map(|option| u64::from(option.unsigned_abs()));
            let own = nr == libc::SYS_prctl && option.contains(&args[0]);
            own.then_some(Step::NoNewPrivs)
        },
    },
];
