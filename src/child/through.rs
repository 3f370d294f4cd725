//! Through: which process comes through the hooks, the child or a fork of it.
//! One does; any other ends there.
#![allow(unsafe_code, reason = "the word is reached by its address")]

use crate::call::Callback;
use crate::sys::bits;
use crate::sys::claim::{claim_or_end, end, gettid};

/// Lets through whoever is first.
pub(crate) const FIRST: Callback = Callback { run: first, data: 0 };

/// Lets the child through, no fork.
pub(crate) const CHILD: Callback = Callback { run: child, data: 0 };

/// # Safety
///
/// `owner` is the address of the launch's owner slot.
unsafe extern "C" fn first(_: u64, owner: u64, _: u64) -> i64 {
    // SAFETY: the caller's word.
    unsafe { claim_or_end(owner, gettid(), 0) }
}

/// # Safety
///
/// As `first`; `own` is the thread id of the child.
unsafe extern "C" fn child(_: u64, owner: u64, own: u64) -> i64 {
    let id = gettid();
    match bits(id) == own || id < 0 {
        // SAFETY: the caller's word.
        true => unsafe { claim_or_end(owner, id, 0) },
        false => end(),
    }
}
