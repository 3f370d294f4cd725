//! Gate: the point where the child waits until the parent's hooks have run.
//!
//! The gate's word is a second lock on the child's robust list, so the kernel
//! wakes the parent if the child dies on its way there. The child dies with
//! the thread that made it, and that thread runs this code.
#![allow(unsafe_code, reason = "borrows a descriptor that has no owner yet")]

use core::fmt;
use core::sync::atomic::Ordering;

use rustix::fd::BorrowedFd;

use super::end::end;
use super::robust_futex::{is_released, wait_for};
use super::shared_block::SharedBlock;
use crate::call::{gate, slot};
use crate::sys::Pid;
use crate::sys::call::futex_wake;
use crate::sys::wait::Target;

/// What the parent does with the waiting child, which may have no pidfd;
/// returns false if the child is to be killed.
type Function<'a> = dyn Fn(Pid, Option<BorrowedFd<'_>>) -> bool + 'a;

/// What the parent does while the child waits.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a>(pub(crate) &'a Function<'a>);

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// Waits for the child to reach the gate, runs the parent's function, and
/// opens the gate. Returns false if the function did: the child is then
/// killed and reaped. A child that does not reach the gate has failed or
/// died, which the caller finds out.
pub(super) fn open(
    block: &SharedBlock,
    gate: Option<Gate<'_>>,
    last_timeout: i64,
    target: Target,
    has_ended: impl Fn() -> bool,
) -> bool {
    let Some(Gate(function)) = gate else { return true };
    let word = block.atomic(slot::GATE);
    let is_done = |value| value == gate::WAITING || is_released(value);
    wait_for(word, last_timeout, is_done, has_ended);
    if word.load(Ordering::Acquire) != gate::WAITING {
        return true;
    }
    // SAFETY: clause 2 of this directory: the kernel wrote the number into
    // this launch's own block, and no code has taken or closes it meanwhile.
    let borrow = |fd| unsafe { BorrowedFd::borrow_raw(fd) };
    if !function(target.pid, target.pidfd.map(borrow)) {
        block.store_error(slot::GATE, libc::ECANCELED);
        futex_wake(word);
        let _ = end(target);
        return false;
    }
    word.store(gate::OPEN, Ordering::Release);
    futex_wake(word);
    true
}
