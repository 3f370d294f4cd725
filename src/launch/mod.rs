//! The door: runs in the parent and makes the child. Its contract.
//!
//! A launch lends the child three things: the table (with the plan's text
//! and lists behind it), the block, and, where memory is shared, the address
//! space itself. The clauses that the unsafe blocks of this folder cite:
//!
//! 1. **The table is verified.** A [`Table`] exists only if its rows make
//!    listed calls with addresses inside the plan or the block, and end in
//!    exec or exit.
//! 2. **The block belongs to one launch.** It is made, lent and read back
//!    here; no reference to it is used while a child may write it.
//! 3. **The caller sleeps.** With `CLONE_VM` there is `CLONE_VFORK`: the
//!    kernel holds the caller until the child has exec'd or died, so what
//!    the caller's stack and the plan hold outlives the child's use.
//! 4. **The child uses no stack**, so the caller's frame, which a shared
//!    address space makes its own too, is never written.
//! 5. **Signals are blocked, all 64, from before the clone.** No handler of
//!    the parent can run in the child; its own mask is set by a row.
//!
//! Absent here: retries, pipes, files, allocation. Those are the parent's.

pub(crate) mod copied;
pub(crate) mod suspended;

use crate::call::{Block, number, slot};
use crate::sys::abi::CloneArgs;
use crate::sys::call::{Ended, wait_clone};
use crate::sys::{CloneFlags, Errno, Pid, bits};

/// How a launch ended, seen from the parent. `pidfd` is a descriptor that
/// nobody owns yet: whoever takes a `Made` closes it or keeps it. Rows are
/// counted from 1; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// The program runs.
    Running { pid: Pid, pidfd: i32 },
    /// The kernel made no child.
    Refused(Errno),
    /// A row failed; the child is gone and reaped.
    Failed { row: u32, result: i64, denied: u32, pidfd: i32 },
    /// The child ended before exec without failing a row; it is reaped.
    Died { row: u32, ended: Ended, pidfd: i32 },
}

impl Made {
    /// The descriptor that came with the child.
    pub(crate) fn pidfd(self) -> Option<i32> {
        match self {
            Made::Refused(_) => None,
            Made::Running { pidfd, .. }
            | Made::Failed { pidfd, .. }
            | Made::Died { pidfd, .. } => Some(pidfd),
        }
    }
}

/// What is asked of the kernel beside the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) flags: CloneFlags,
    /// A descriptor above the cut, or none: then the child's pidfd serves,
    /// as it is made above the pipes unless numbers below were free.
    pub(crate) canary: Option<i32>,
}

/// Fills the slots that every launch has, but for addresses.
fn seat(block: &mut Block, ask: Ask) {
    if let Some(canary) = ask.canary {
        block.set(slot::CANARY, bits(i64::from(canary)));
    }
}

/// Where the kernel writes the pidfd, as a slot.
fn pidfd_slot(ask: Ask) -> u8 {
    if ask.canary.is_some() { slot::PIDFD } else { slot::CANARY }
}

/// The address of a slot of the block at `base`.
fn address(base: *mut Block, n: u8) -> u64 {
    let first = core::mem::offset_of!(Block, slots);
    (base.expose_provenance() + first + 8 * usize::from(n)) as u64
}

/// The arguments of clone3 for a child without a stack of its own. Exit
/// signal 0: until it execs the child's death raises no SIGCHLD and only a
/// wait with `__WCLONE` sees it; exec makes it SIGCHLD.
fn clone_args(ask: Ask, pidfd: u64) -> CloneArgs {
    CloneArgs { flags: ask.flags.bits(), pidfd, ..CloneArgs::default() }
}

/// The system call and its arguments for [`crate::child::enter`].
fn clone3(args: &CloneArgs) -> (u64, [u64; 5]) {
    let nr = u64::from(number(libc::SYS_clone3));
    let at = core::ptr::from_ref(args).expose_provenance() as u64;
    (nr, [at, CloneArgs::SIZE_VER0, 0, 0, 0])
}

/// The number that the kernel wrote into a slot, as a descriptor.
fn descriptor(block: &Block, n: u8) -> i32 {
    let low = block.slot(n) & u64::from(u32::MAX);
    i32::try_from(low).unwrap_or(-1)
}

/// Reads the block back once the child has exec'd or is about to be gone,
/// and reaps a child that did not exec. D8: only `__WCLONE` sees a child
/// that has not, so ECHILD is the proof that it has.
fn verdict(block: &Block, pid: Pid, pidfd: i32) -> Made {
    let row = block.reached;
    if block.failed != 0 {
        let _ = wait_clone(pidfd, true);
        let row = block.failed;
        return Made::Failed {
            row,
            result: block.result,
            denied: block.denied,
            pidfd,
        };
    }
    let ended = match wait_clone(pidfd, false) {
        Ok(None) => wait_clone(pidfd, true),
        other => other,
    };
    match ended {
        Ok(Some(ended)) => Made::Died { row, ended, pidfd },
        Ok(None) | Err(_) => Made::Running { pid, pidfd },
    }
}
