//! Concurrent engine: memory is shared, and the caller runs on; it returns once
//! no child uses that memory any more.
//!
//! The kernel clears a word of the block at the child's exec and at its death
//! (`CLONE_CHILD_CLEARTID`), when the child has let go of the memory. One caller
//! makes many children and waits for all of them, so that they start beside each
//! other; the wait can be interrupted.
//!
//! A child that is stopped, or whose exec hangs, is waited for, as the caller of
//! the suspended engine is suspended. A row that calls a function would use the
//! caller's stack, which is in use: such a table is rejected.
#![allow(unsafe_code, reason = "clones into shared memory")]

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::args::{LaunchArgs, fd_in};
use super::outcome::Outcome;
use super::reap::has_ended;
use super::robust_futex::wait_for;
use super::watch::{Watched, Words};
use crate::call::{Block, Table, local, slot};
use crate::child::enter;
use crate::sys::call::{block_signals, set_signal_mask};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid};

/// One of the children that a caller makes at once, and how it has ended.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    table: &'a Table<'a>,
    args: LaunchArgs<'a>,
    result: i64,
    outcome: Outcome,
}

impl<'a> Beside<'a> {
    pub(crate) fn new(table: &'a Table<'a>, args: LaunchArgs<'a>) -> Self {
        let args = args.with_engine_flags(CloneFlags::CONCURRENT);
        let result = -i64::from(libc::ENOSYS);
        let outcome = Outcome::Rejected(Errno(libc::ENOSYS));
        Beside { table, args, result, outcome }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether no function of the child's would use the caller's stack. Without
    /// the flag a handler could, too.
    fn uses_no_stack(&self) -> bool {
        let calls = |row: &crate::call::Call| row.nr == local::CALLBACK;
        let clears = self.args.flags.contains(CloneFlags::CLEAR_SIGHAND);
        clears && !self.table.rows().iter().any(calls)
    }

    /// Makes the child.
    ///
    /// # Safety
    ///
    /// The caller does not return before `wait` has, and until then it uses
    /// `at` for `wait` only.
    unsafe fn begin(&mut self, at: *mut Block, program_mask: u64) {
        let args = self.args;
        if args.clone_call == CloneCall::Clone || !self.uses_no_stack() {
            return;
        }
        {
            // SAFETY: clause 2 of this directory: there is no child yet.
            let block = unsafe { &mut *at };
            args.fill_slots(block, at);
            block.set(slot::CLEAR_TID, 1);
            block.set(slot::SIGMASK, args.mask.unwrap_or(program_mask));
        }
        let mut clone_args = args.clone_args(at);
        clone_args.child_tid = Block::slot_address(at, slot::CLEAR_TID);
        let pidfd_at = Block::slot_address(at, args.pidfd_slot());
        let (nr, arguments) = args.system_call(&mut clone_args, pidfd_at, 0);
        // SAFETY: clause 1 of `enter`: clone3 without a stack; `clone_args`
        // lives in this frame, and the kernel reads it before it returns.
        // Clause 2: clause 3 of this directory, by the caller's contract.
        // Clause 3: `fill_slots` has set the address slots. Clause 4: no row
        // calls a function.
        self.result = unsafe { enter(nr, arguments, self.table, at) };
    }

    /// Waits until the child no longer uses the caller's memory.
    fn wait(&mut self, at: *mut Block) -> Option<(Pid, Option<i32>)> {
        let args = self.args;
        let Some(pid) = Pid::new(self.result) else {
            self.outcome = Outcome::rejected(self.result);
            return None;
        };
        let pidfd = word(at, args.pidfd_slot()).load(Ordering::Relaxed);
        let pidfd = fd_in(pidfd.into());
        let target = args.target(pid, pidfd);
        let cleared = word(at, slot::CLEAR_TID);
        let is_cleared = |value| value == 0;
        wait_for(cleared, args.last_timeout(), is_cleared, || {
            args.resume(target);
            // A kernel before 5.16 does not clear it for a child that dumps
            // core. Not `Kind::Clone`, which exec changes before it lets go of
            // the memory.
            args.has_ended(target, has_ended)
        });
        Some((pid, pidfd))
    }
}

/// The low half of a slot, which the kernel may write.
fn word<'a>(at: *mut Block, n: u8) -> &'a AtomicU32 {
    let at = usize::try_from(Block::slot_address(at, n)).unwrap_or_default();
    let at = ptr::with_exposed_provenance_mut::<u32>(at);
    // SAFETY: an aligned word of a block that `launch_all` has borrowed, in
    // which it is used; the child and the kernel write it with one store.
    unsafe { AtomicU32::from_ptr(at) }
}

/// As `launch_all`, for one child.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
) -> Outcome {
    let mut one = [Beside::new(table, args)];
    launch_all(&mut one, core::slice::from_mut(block));
    one[0].outcome
}

/// Makes a child for each of `all`, with the block of the same index, and
/// returns when all have exec'd their programs or have ended.
pub(crate) fn launch_all(all: &mut [Beside<'_>], blocks: &mut [Block]) {
    let count = all.len().min(blocks.len());
    let first = blocks.as_mut_ptr();
    let mask = block_signals(false);
    let mut _watched = None;
    for (n, one) in all.iter_mut().enumerate().take(count) {
        let at = first.wrapping_add(n);
        // A caller of several watches none of them.
        if one.args.watch.is_some() {
            let words = Words::new(at, at, one.args.pidfd_slot());
            _watched = Some(Watched::new(one.args.watch, words));
        }
        // SAFETY: the contract of `begin`: the loop below waits for each, and
        // uses no block before all are done.
        unsafe { one.begin(at, mask) };
    }
    set_signal_mask(mask);
    for (n, one) in all.iter_mut().enumerate().take(count) {
        let at = first.wrapping_add(n);
        let child = one.wait(at);
        let Some((pid, pidfd)) = child else { continue };
        // SAFETY: clause 2 of this directory: the child has exec'd or ended.
        let block = unsafe { &*at };
        one.outcome = one.args.outcome_of(one.table, block, pid, pidfd);
    }
}
