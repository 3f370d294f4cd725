//! Hooks: the rows that call functions, and those that find out whether a
//! function has left the rest to a fork of the child.

use super::Plan;
use super::lower::Rows;
use super::method::Engine;
use super::shape::Shape;
use super::words::Words;
use crate::call::{Check, local, slot};

/// The place of the first hook among the plan's entries.
const HOOKS: u64 = 2;

/// The bytes of a thread's id.
const ID: u64 = 4;

impl Rows {
    pub(super) fn hook(&mut self, n: u16, plan: &Plan, shape: Shape) {
        if n == 0 && !shape.here {
            self.call(libc::SYS_gettid, &[]).store = slot::BEFORE;
        }
        let mask = u64::from(slot::MASK_AT);
        let row = self.push(local::HOOK, &[HOOKS + u64::from(n), mask]);
        row.slots = 0b10;
        // A panic's mark is no errno.
        row.check = Check::Equal;
        if usize::from(n) + 1 == plan.hooks.len() && !shape.here {
            self.go_on(shape);
        }
    }

    /// Whoever comes through the last hook says so. A fork shares the page of
    /// a copied child: the parent waits for it, or has said that it does so
    /// no more. In memory shared with the parent a fork has a copy of the
    /// block, and nobody would know what becomes of it: it ends here.
    fn go_on(&mut self, shape: Shape) {
        if shape.engine == Engine::Copied {
            self.register();
            let who = self.push(local::VALUE, &[slot::WORD.into()]);
            (who.slots, who.store) = (0b1, slot::AFTER);
        } else {
            let who = self.call(libc::SYS_gettid, &[]);
            who.store = slot::AFTER;
        }
        let same = if shape.engine == Engine::Suspended {
            let args = [slot::BEFORE_AT, slot::AFTER_AT].map(u64::from);
            let same = self.push(local::COMPARE, &[args[0], args[1], ID]);
            same.slots = 0b11;
            same
        } else {
            let zeros = u64::from(Words::ZEROS.start);
            let args = [slot::GIVEN_UP_AT.into(), zeros, ID];
            let same = self.push(local::COMPARE, &args);
            (same.slots, same.texts) = (0b01, 0b10);
            same
        };
        same.check = Check::Equal;
    }
}
