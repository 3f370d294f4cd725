//! Hooks: the rows that call functions, and the one that lets a single
//! process go on from there, as a function may have forked.

use super::Plan;
use super::lower::Rows;
use super::method::Engine;
use super::shape::Shape;
use crate::call::{Check, local, slot};

/// The places of the entries that let through whoever is first, or the child
/// alone.
const FIRST: u64 = 2;
const CHILD: u64 = 3;

/// The place of the first hook among the plan's entries.
const HOOKS: u64 = 4;

impl Rows {
    pub(super) fn hook(&mut self, n: u16, plan: &Plan, shape: Shape) {
        if n == 0 && !shape.here {
            self.call(libc::SYS_gettid, &[]).store = slot::BEFORE;
        }
        let [mask, owner] = [slot::MASK_AT, slot::OWNER_AT].map(u64::from);
        let owner = if shape.here { 0 } else { owner };
        let args = [HOOKS + u64::from(n), mask, owner];
        let row = self.push(local::HOOK, &args);
        row.slots = if shape.here { 0b010 } else { 0b110 };
        // A panic's mark is no errno.
        row.check = Check::Equal;
        if usize::from(n) + 1 == plan.hooks.len() && !shape.here {
            self.go_on(shape);
        }
    }

    /// Whoever comes through the last hook claims the launch, unless another
    /// process has, or the parent has said that nobody may. A fork shares the
    /// page of a copied child. In memory shared with the parent it has a copy
    /// of the block, and nobody would know what becomes of it: it ends here.
    fn go_on(&mut self, shape: Shape) {
        let shares = shape.engine == Engine::Suspended;
        let entry = if shares { CHILD } else { FIRST };
        let args = [entry, slot::OWNER_AT.into(), slot::BEFORE.into()];
        self.push(local::HOOK, &args).slots = 0b110;
        if shape.engine == Engine::Copied {
            self.register();
        }
        let through = self.push(local::VALUE, &[slot::OWNER.into()]);
        (through.slots, through.store) = (0b1, slot::AFTER);
    }
}
