//! Sandbox: plans for fault injection with Landlock, labels and keyrings.

use offshoot::Step;

use super::Case;
use crate::util::ENGINES;

pub(super) const CASES: &[Case] = &[Case {
    name: "keyring",
    engines: &ENGINES,
    options: |it| match has_keyrings() {
        true => it.session_keyring("offshoot"),
        false => it,
    },
    own: |nr, _| (nr == libc::SYS_keyctl).then_some(Step::SessionKeyring),
}];

/// Whether a child may join a session keyring: docker's filter rejects the
/// call.
pub(crate) fn has_keyrings() -> bool {
    crate::util::reporter::session_keyring().contains(';')
}
