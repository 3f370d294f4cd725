//! Sandbox: plans for fault injection with Landlock, labels and keyrings.

use offshoot::{Landlock, Step};

use super::{Case, no_new_privs};
use crate::util::ENGINES;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "keyring",
        engines: &ENGINES,
        options: |it| match has_keyrings() {
            true => it.session_keyring("offshoot"),
            false => it,
        },
        own: |nr, _| (nr == libc::SYS_keyctl).then_some(Step::SessionKeyring),
    },
    Case {
        name: "landlock",
        engines: &ENGINES,
        // No probe, as the rules permit to list the root directory.
        options: |it| {
            let rules = Landlock::new().best_effort().execute("/");
            it.no_new_privs(true).landlock(rules)
        },
        own: |nr, args| match nr {
            libc::SYS_landlock_restrict_self => {
                Some(Step::LandlockRestrictSelf)
            }
            nr => no_new_privs(nr, args),
        },
    },
];

/// Whether a child may join a session keyring: docker's filter rejects the
/// call.
pub(crate) fn has_keyrings() -> bool {
    crate::util::reporter::session_keyring().contains(';')
}
