//! Launching: runs in the parent and makes the child; one file for each engine.
//!
//! A launch gives the child three things: the table (with the strings and
//! lists that its rows point to), the block, and, where memory is shared, the
//! address space itself. The unsafe blocks of this directory cite these
//! clauses:
//!
//! 1. **The table is verified.** A [`Table`](crate::call::Table) exists only
//!    if its rows make listed calls with addresses inside the plan or the
//!    block, and the last of them is an exec or an exit.
//! 2. **The block belongs to one launch.** It is created, used and read back
//!    here; no reference to it is used while a child may write it.
//! 3. **The caller waits.** With `CLONE_VM` the caller's frame and the plan
//!    outlive their use by the child: `CLONE_VFORK` is set too, and the kernel
//!    suspends the caller until the child has exec'd or died; or
//!    `CLONE_CHILD_CLEARTID` is, and the caller returns only once the kernel has
//!    cleared the word, as the child has let go of the memory, or the child has
//!    ended.
//! 4. **The child uses no stack**, so it never writes the caller's frame,
//!    although a shared address space contains it.
//! 5. **Signals are blocked before the clone**, all but SIGSYS, which a
//!    seccomp filter may send to the parent for the clone itself. With
//!    `CLONE_CLEAR_SIGHAND` the child has no handler for it. Without, SIGSYS
//!    stays unblocked only under a filter, and the child's first row blocks
//!    it; if another process sends it before that, a handler for SIGSYS runs
//!    in the child. No other handler of the parent can run there: a row sets
//!    the child's own mask after all handlers have been reset, by the flag or
//!    by rows before it.
//! 6. **Callbacks write only to what they are given.** A
//!    [`Callback`](crate::call::Callback) that a row calls is valid in this
//!    process and in its copies for as long as the table is borrowed.
//!
//! Absent here: retries, pipes, files, allocation. Those are in `parent`.

mod args;
mod autoreaped;
pub(crate) mod concurrent;
pub(crate) mod copied;
pub(crate) mod detached;
mod end;
mod environ;
pub(crate) mod exec_in_place;
pub(crate) mod gate;
mod hook_forks;
pub(crate) mod isolated;
pub(crate) mod listener;
mod outcome;
pub(crate) mod pipe;
mod proc_files;
mod reap;
mod robust_futex;
pub(crate) mod shared_block;
mod sibling;
mod stop_signals;
pub(crate) mod suspended;
pub(crate) mod watch;

pub(crate) use args::LaunchArgs;
pub(crate) use environ::Environ;
pub(crate) use outcome::Outcome;

use crate::call::Callback;
pub(crate) use crate::child::helper_code;
use crate::child::{claims, closefrom_fallback};

/// The functions that rows of plans call: those that close descriptors or set
/// their close-on-exec flag one by one, and those that let one process past
/// the hooks.
pub(crate) const CALLBACKS: [Callback; 4] = [
    closefrom_fallback::CLOSE,
    closefrom_fallback::SET_CLOEXEC,
    claims::FIRST_PROCESS,
    claims::CHILD_ONLY,
];
