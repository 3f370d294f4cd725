//! Hooks: the rows that call functions, and the one that lets a single
//! process go on from there, as a function may have forked.

use super::lower::Lowering;
use crate::call::{Check, local, slot};
use crate::parent::command::method::Engine;

/// The places of the entries that let through whoever is first, or the child
/// alone.
const FIRST: u64 = 2;
const CHILD: u64 = 3;

/// The place of the first hook among the plan's entries.
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
        // A panic's mark is no errno.
        row.check = Check::Equal;
        if usize::from(n) + 1 == self.plan.hooks.len() && !in_place {
            self.go_on();
        }
    }

    /// Whoever comes through the last hook claims the launch, unless another
    /// process has, or the parent has said that nobody may. A fork shares the
    /// page of a copied child. In memory shared with the parent it has a copy
    /// of the block, and nobody would know what becomes of it: it ends here.
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
