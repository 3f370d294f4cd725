//! Forked: a hook that forks and leaves the rest to its own child
//! (`daemon(3)`, the double fork of those who detach). The fork has the page
//! too, runs the program, and is nobody's child here; what is returned is the
//! child that was made, which has ended by then, as in std.

use core::sync::atomic::Ordering;

use super::shared::Shared;
use super::{Made, execd, failed};
use crate::call::{Block, slot};
use crate::sys::call::{end, futex_wait, now};
use crate::sys::wait::{Ended, Kind, Target, await_end, wait};
use crate::sys::{Pid, number};

/// How long a fork may take from the end of its parent to the end of its
/// hook, in nanoseconds. Later it ends instead.
const LIMIT: i64 = 1_000_000_000;

/// How long a look lasts; and a store of the fork's to be seen.
const LOOK: i64 = 1_000_000;
const SEEN: i64 = 20_000_000;

/// How much longer a fork is waited for that is past its hooks.
pub(super) struct Patience(Option<i64>);

impl Patience {
    pub(super) fn new() -> Patience {
        Patience(None)
    }

    /// Begins when it is first asked.
    pub(super) fn ends(&mut self) -> bool {
        now() > *self.0.get_or_insert_with(|| now() + LIMIT)
    }
}

/// The bits of a futex word that are a thread's id.
const ID: u64 = 0x3fff_ffff;

/// What a fork's last look at the page fails with: it came too late, and
/// has ended. Only asked where nobody waits any more.
const LATE: i64 = 1;

/// Forgets a fork that came too late.
pub(super) fn settle(block: &mut Block) {
    let given_up = block.slot(slot::GIVEN_UP) != 0;
    if given_up && is_another(block) && block.result == LATE {
        block.failed = 0;
        block.set(slot::AFTER, 0);
    }
}

/// Whether a copied child that has let go of its word, or has ended, leaves
/// the rest to a fork.
pub(super) fn leaves(shared: &Shared, target: Target) -> bool {
    if is_inside(&shared.read()) {
        // At its end, or a program that a hook has run.
        let over = await_end(target, Kind::Silent).ok().flatten();
        if may_go_on(&shared.read(), over) {
            return comes(shared);
        }
    }
    is_another(&shared.read())
}

/// Whether another process than the child has come through the hooks.
pub(super) fn is_another(block: &Block) -> bool {
    let (own, other) = (block.slot(slot::BEFORE), block.slot(slot::AFTER));
    other != 0 && other & ID != own & ID
}

/// Whether it has exec'd; `None` if that cannot be read, or its number is
/// one of another PID namespace.
pub(super) fn has_execd(block: &Block, target: Target) -> Option<bool> {
    let id = |n| Pid::new(number(block.slot(n) & ID));
    let here = id(slot::BEFORE) == Some(target.pid);
    id(slot::AFTER).filter(|_| here).and_then(execd::has_execd)
}

/// Whether nobody has come through the hooks yet, though the child has begun
/// them.
pub(super) fn is_inside(block: &Block) -> bool {
    let begun = block.slot(slot::BEFORE) != 0;
    begun && block.slot(slot::AFTER) == 0 && block.failed == 0
}

/// Whether a child that has ended may have left the rest to a fork: it was
/// in its hooks, and not by mistake.
pub(super) fn may_go_on(block: &Block, ended: Option<Ended>) -> bool {
    let left = Ended { code: libc::CLD_EXITED, status: 0 };
    is_inside(block) && ended == Some(left)
}

/// Waits for a fork to come through the hooks of a child that has ended, as
/// long as it may take. After it has said no the fork ends by itself.
pub(super) fn comes(shared: &Shared) -> bool {
    let limit = now() + LIMIT;
    while now() < limit {
        if let Some(comes) = look(shared) {
            return comes;
        }
    }
    shared.half(slot::GIVEN_UP).store(1, Ordering::SeqCst);
    // One that has not seen this by now has been seen.
    let until = now() + SEEN;
    while now() < until {
        look(shared);
    }
    look(shared).unwrap_or(false)
}

/// Waits a moment. Whether a fork has come, or has failed before it did.
fn look(shared: &Shared) -> Option<bool> {
    let word = shared.half(slot::WORD);
    let _ = futex_wait(word, word.load(Ordering::Acquire), LOOK);
    let block = shared.read();
    match block.failed {
        0 => is_another(&block).then_some(true),
        _ => Some(false),
    }
}

/// What became of a launch whose program is a fork's affair: nobody can wait
/// for that. Of a failure nothing is left.
pub(super) fn verdict(block: &Block, exec: u32, target: Target) -> Made {
    let Target { pid, pidfd } = target;
    if block.failed == 0 && block.reached >= exec {
        return Made::Running { pid, pidfd, sure: false };
    }
    let _ = end(target);
    let _ = wait(target, Kind::Any, true);
    match block.failed {
        0 => Made::Died { row: block.reached, ended: None, pidfd },
        _ => failed(block, pidfd),
    }
}
