//! Sandbox: plans for fault injection with Landlock, labels and keyrings.

use offshoot::{Landlock, Step};

use super::Case;
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
        // No probe, as the rules permit to list the root directory. The
        // supervisor's filter has set `no_new_privs`.
        options: |it| it.landlock(Landlock::new().best_effort().execute("/")),
        own: |nr, _| {
            let own = nr == libc::SYS_landlock_restrict_self;
            own.then_some(Step::LandlockRestrictSelf)
        },
    },
];

/// Whether a child may join a session keyring: docker's filter rejects the
/// call.
pub(crate) fn has_keyrings() -> bool {
    crate::util::reporter::session_keyring().contains(';')
}
