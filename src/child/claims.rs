//! Claims: which process runs the rows after the hooks, the child or a fork
//! that a hook has made. The first to get there does; any other exits.
#![allow(unsafe_code, reason = "the word is accessed by its address")]

use crate::call::Callback;
use crate::sys::bits;
use crate::sys::claim::{claim_or_exit, exit, gettid};

/// Lets the first process continue.
pub(crate) const FIRST_PROCESS: Callback =
    Callback { run: first_process, data: 0 };

/// Lets the child continue, no fork.
pub(crate) const CHILD_ONLY: Callback = Callback { run: child_only, data: 0 };

/// # Safety
///
/// `claim` is the address of the launch's slot of that name.
unsafe extern "C" fn first_process(_: u64, claim: u64, _: u64) -> i64 {
    // SAFETY: the row passes the slot's address, as `# Safety` requires.
    unsafe { claim_or_exit(claim, gettid(), 0) }
}

/// # Safety
///
/// As `first_process`; `child` is the thread id of the child.
unsafe extern "C" fn child_only(_: u64, claim: u64, child: u64) -> i64 {
    let id = gettid();
    match bits(id) == child || id < 0 {
        // SAFETY: the row passes the slot's address, as `# Safety` requires.
        true => unsafe { claim_or_exit(claim, id, 0) },
        false => exit(),
    }
}
