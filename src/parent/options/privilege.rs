//! Privilege: whether the child needs `no_new_privs` for what confines it.

use crate::parent::error::{Error, Step};
use crate::parent::plan::{Effect, PlanBuilder};
use crate::sys::call::{capabilities, has_no_new_privs};

/// `CAP_SYS_ADMIN`, as a bit of the effective capabilities.
const SYS_ADMIN: u64 = 1 << 21;

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

/// Whether the child has CAP_SYS_ADMIN once its ids are set: a change of all
/// three user ids from 0 to others removes it, unless it is kept.
fn keeps_sys_admin(plan: &PlanBuilder<'_>) -> bool {
    let own = capabilities()[0] & SYS_ADMIN != 0;
    let kept = plan.plan.effects().filter_map(|effect| match effect {
        Effect::Uid(uid) if uid != 0 => Some(false),
        Effect::Capabilities(set) => Some(set & SYS_ADMIN != 0),
        _ => None,
    });
    own && kept.last().unwrap_or(true)
}
