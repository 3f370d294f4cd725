//! Forked: a hook that forks and leaves the rest to its own child
//! (`daemon(3)`, the double fork of those who detach). The fork has the page
//! too, runs the program, and is nobody's child here; what is returned is the
//! child that was made, which has ended by then, as in std.
//!
//! One word of the page decides ([`slot::OWNER`]): the first process that
//! comes through the hooks, or fails in one, has it, and only what becomes of
//! that one counts. The parent takes it before it gives up, and then no
//! process comes through.

use super::copied::pause;
use super::shared::Shared;
use super::{Outcome, execd, failed};
use crate::call::{Block, slot};
use crate::sys::call::{end, futex_wait, now};
use crate::sys::claim::{CLOSED, claim};
use crate::sys::wait::{Ended, Kind, Target, await_end, peek, wait};
use crate::sys::{Errno, Pid, number};

/// How long a fork may take from the end of its parent to the end of its
/// hooks, in nanoseconds, if that was `_exit(0)`; and after any other end,
/// which is a failure most likely. Later it ends instead.
const LIMIT: i64 = 1_000_000_000;
const SHORT: i64 = 20_000_000;

/// How long a look lasts.
const LOOK: i64 = 1_000_000;

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

/// The bits of a word that are a thread's id.
const ID: u64 = 0x3fff_ffff;

/// Whether another process than the child has come through the hooks, or has
/// failed in one, first.
pub(super) fn is_another(block: &Block) -> bool {
    let (own, owner) = (block.slot(slot::BEFORE), block.slot(slot::OWNER));
    owner & ID != 0 && owner & ID != own & ID
}

/// Whether a fork goes on to the program, or has.
pub(super) fn goes_on(block: &Block) -> bool {
    let closed = block.slot(slot::OWNER) & u64::from(CLOSED) != 0;
    is_another(block) && !closed && block.failed == 0
}

/// Whether the child or a fork has come as far as the first exec. Forks that
/// come late write where they are, but not that they go on.
pub(super) fn came(block: &Block, exec: u32) -> bool {
    match block.slot(slot::BEFORE) {
        0 => block.reached >= exec,
        _ => block.slot(slot::AFTER) != 0,
    }
}

/// Whether it has exec'd; `None` if that cannot be read, or its number is
/// one of another PID namespace.
pub(super) fn has_execd(block: &Block, target: Target) -> Option<bool> {
    let id = |n| Pid::new(number(block.slot(n) & ID));
    let here = id(slot::BEFORE) == Some(target.pid);
    id(slot::OWNER).filter(|_| here).and_then(execd::has_execd)
}

/// Whether a copied child whose word is free, or that has ended, leaves the
/// rest to a fork, which holds the word by now.
pub(super) fn leaves(shared: &Shared, target: Target) -> bool {
    if is_inside(&shared.read()) {
        // At its end, or a program that a hook has run.
        let ended = match await_end(target, Kind::Silent) {
            Ok(ended) => ended,
            Err(_) if is_lost(target) => None,
            Err(_) => return false,
        };
        close(shared, ended);
    }
    let until = now() + LIMIT;
    while goes_on(&shared.read()) && now() < until {
        if shared.read().slot(slot::AFTER) != 0 {
            return true;
        }
        look(shared, slot::AFTER);
    }
    false
}

/// Whether another thread has waited for it.
fn is_lost(target: Target) -> bool {
    peek(target, Kind::Any) == Err(Errno(libc::ECHILD))
}

/// Whether nobody has come through the hooks yet, though the child has begun
/// them.
pub(super) fn is_inside(block: &Block) -> bool {
    let begun = block.slot(slot::BEFORE) != 0;
    begun && block.slot(slot::OWNER) == 0
}

/// Gives the forks of a child that has ended in its hooks some time to come
/// through. After that none does.
pub(super) fn close(shared: &Shared, ended: Option<Ended>) {
    let left = Ended { code: libc::CLD_EXITED, status: 0 };
    let limit = if ended == Some(left) { LIMIT } else { SHORT };
    let until = now() + limit;
    while is_inside(&shared.read()) && now() < until {
        look(shared, slot::OWNER);
    }
    claim(shared.half(slot::OWNER), CLOSED);
}

/// Waits a moment, or until a word that is 0 is another.
fn look(shared: &Shared, n: u8) {
    let woken = [libc::EAGAIN, libc::ETIMEDOUT, libc::EINTR];
    match futex_wait(shared.half(n), 0, LOOK) {
        // A filter refuses it.
        Err(Errno(errno)) if !woken.contains(&errno) => pause(),
        _ => {}
    }
}

/// What became of a launch that is a fork's affair: nobody can wait for that.
/// Of a failure nothing is left.
pub(super) fn verdict(shared: &Shared, target: Target) -> Outcome {
    // It has claimed to have failed before it says where.
    let until = now() + LIMIT;
    let says = |block: &Block| block.failed != 0 || goes_on(block);
    while !says(&shared.read()) && now() < until {
        look(shared, slot::AFTER);
    }
    let block = shared.read();
    let Target { pid, pidfd } = target;
    if goes_on(&block) {
        return Outcome::Running { pid, pidfd, confirmed: false };
    }
    let _ = end(target);
    let _ = wait(target, Kind::Any, true);
    match block.failed {
        0 => Outcome::Died { row: block.reached, ended: None, pidfd },
        _ => failed(&block, pidfd),
    }
}
