//! Gate: where the child waits until the parent has done its part.
//!
//! The gate's word is a second lock of the child's robust list, so that the
//! kernel wakes the parent should the child die on its way there. The child
//! ends with the thread that made it, which is here all the time.
#![allow(unsafe_code, reason = "a descriptor that nobody owns yet is lent")]

use core::fmt;
use core::sync::atomic::Ordering;

use rustix::fd::BorrowedFd;

use super::copied::{await_word, is_free};
use super::shared::Shared;
use crate::call::{gate, slot};
use crate::sys::Pid;
use crate::sys::call::{end, futex_wake};
use crate::sys::wait::{Kind, Target, wait};

/// What the parent does with a child, which it may have no descriptor for;
/// false if the child is to end instead.
type Function<'a> = dyn Fn(Pid, Option<BorrowedFd<'_>>) -> bool + 'a;

/// What the parent does while the child waits.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a>(pub(crate) &'a Function<'a>);

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// Waits for the child to come to the gate, and opens it once the parent has
/// done its part. False if the parent would not: the child is gone then.
/// A child that does not come has failed or died, which others find out.
pub(super) fn pass(
    page: &Shared,
    gate: Option<Gate<'_>>,
    target: Target,
    ended: impl Fn() -> bool,
) -> bool {
    let Some(Gate(function)) = gate else { return true };
    let word = page.half(slot::GATE);
    let over = |value| value == gate::WAITING || is_free(value);
    await_word(word, over, ended);
    if word.load(Ordering::Acquire) != gate::WAITING {
        return true;
    }
    // SAFETY: clause 2 of this folder: the kernel wrote the number into this
    // launch's own block, and nobody has taken it or closes it meanwhile.
    let borrow = |fd| unsafe { BorrowedFd::borrow_raw(fd) };
    if !function(target.pid, target.pidfd.map(borrow)) {
        let _ = end(target);
        let _ = wait(target, Kind::Any, true);
        return false;
    }
    word.store(gate::OPEN, Ordering::Release);
    futex_wake(word);
    true
}
