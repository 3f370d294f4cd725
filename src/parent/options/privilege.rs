//! Privilege: whether the child needs `no_new_privs` for what confines it.

use crate::parent::error::{Error, Step};
use crate::parent::plan::{Effect, PlanBuilder};
use crate::sys::call::{capabilities, has_no_new_privs, user_ids};
use crate::sys::safe::prctl_get;

/// `CAP_SYS_ADMIN`, as a bit of the low half of a set.
const SYS_ADMIN: u64 = 1 << 21;

/// `SECBIT_NO_SETUID_FIXUP`.
const NO_SETUID_FIXUP: u64 = 1 << 2;

const MISSING: &str = "it takes no_new_privs, as the child will not have \
                       CAP_SYS_ADMIN";

/// Refuses an option that the kernel rejects without `no_new_privs`, as the
/// child will not have CAP_SYS_ADMIN when it runs (`landlock_restrict_self`,
/// a seccomp filter): the program could otherwise execute a set-user-ID
/// program that the restriction makes misbehave.
///
/// A plan with functions of the user's is not refused, as one of them may set
/// the flag. Makes two system calls of this thread, only for such an option.
pub(crate) fn require_no_new_privs(
    plan: &PlanBuilder<'_>,
    step: Step,
) -> Result<(), Error> {
    let set = plan.has_step("no_new_privs");
    let hooks = &plan.options().hooks;
    let hooked = !hooks.child.is_empty() || !hooks.raw.is_empty();
    if set || hooked || has_no_new_privs() || keeps_sys_admin(plan) {
        return Ok(());
    }
    Err(Error::refused(step, MISSING).with("no_new_privs"))
}

/// Whether the child has CAP_SYS_ADMIN once its ids are set.
fn keeps_sys_admin(plan: &PlanBuilder<'_>) -> bool {
    let set = plan.plan.effects().filter_map(|effect| match effect {
        Effect::Capabilities(set) => Some(set & SYS_ADMIN != 0),
        _ => None,
    });
    // The low halves: effective and permitted.
    let word = capabilities()[0];
    let [effective, permitted] =
        [word, word >> 32].map(|set| set & SYS_ADMIN != 0);
    set.last().unwrap_or_else(|| match plan.ids.uid {
        Some(to) if !has_no_fixup() => {
            after_change(user_ids(), to, effective, permitted)
        }
        _ => effective,
    })
}

/// Whether a change of user ids leaves the capabilities as they are.
fn has_no_fixup() -> bool {
    let bits = prctl_get(libc::PR_GET_SECUREBITS, 0);
    bits.is_ok_and(|bits| bits & NO_SETUID_FIXUP != 0)
}

/// Whether a capability is effective after `setresuid`, as capabilities(7)
/// tells.
fn after_change(
    from: [u32; 3],
    to: [u32; 3],
    effective: bool,
    permitted: bool,
) -> bool {
    match (from[1] == 0, to[1] == 0) {
        _ if from.contains(&0) && !to.contains(&0) => false,
        (true, false) => false,
        (false, true) => permitted,
        _ => effective,
    }
}

#[cfg(test)]
mod tests {
    use super::after_change;

    /// Compared with the kernel in tests/privilege.rs.
    #[test]
    fn only_a_change_from_or_to_root_changes_capabilities() {
        let (has, all) =
            (|from, to| after_change(from, to, true, true), [0; 3]);
        assert!(!has(all, [7; 3]) && !has(all, [0, 7, 0]));
        assert!(!has([0, 7, 0], [7; 3]));
        assert!(has(all, all) && has([7; 3], [8; 3]) && has(all, [7, 0, 7]));
        assert!(after_change([7, 7, 0], all, false, true));
        assert!(!after_change([7, 7, 0], all, true, false));
    }
}
