//! Hook rows: calls of the user's functions, and the claim that lets one
//! process continue, as a function may have forked.

use super::lower::Lowering;
use crate::call::{Check, local, slot};
use crate::parent::command::Engine;

/// The indices of the callbacks that claim the launch: for the first process
/// that calls, or for the child only.
const FIRST: u64 = 2;
const CHILD: u64 = 3;

/// The index of the first hook among the callbacks.
const HOOKS: u64 = 4;

impl Lowering<'_> {
    pub(super) fn hook(&mut self, n: u16) {
        let in_place = self.strategy.in_place;
        if n == 0 && !in_place {
            self.call(libc::SYS_gettid, &[]).store = slot::HOOK_THREAD;
        }
        let [mask, owner] =
            [slot::SIGMASK_ADDR, slot::CLAIM_ADDR].map(u64::from);
        let owner = if in_place { 0 } else { owner };
        let args = [HOOKS + u64::from(n), mask, owner];
        let row = self.push(local::CALLBACK, &args);
        row.slots = if in_place { 0b010 } else { 0b110 };
        // The result for a panic is no errno.
        row.check = Check::Equal;
        if usize::from(n) + 1 == self.plan.hooks.len() && !in_place {
            self.go_on();
        }
    }

    /// The first process that returns from the last hook claims the launch,
    /// unless the parent has given up. A fork made by a hook shares the block
    /// of a copied child, so it may claim. With the suspended engine it has a
    /// copy of the block, the parent could not see its result, and it exits
    /// here.
    fn go_on(&mut self) {
        let shares = self.strategy.engine == Engine::Suspended;
        let callback = if shares { CHILD } else { FIRST };
        let args =
            [callback, slot::CLAIM_ADDR.into(), slot::HOOK_THREAD.into()];
        self.push(local::CALLBACK, &args).slots = 0b110;
        if self.strategy.engine == Engine::Copied {
            self.register();
        }
        let through = self.push(local::VALUE, &[slot::CLAIM.into()]);
        (through.slots, through.store) = (0b1, slot::HOOKS_DONE);
    }
}
