//! Hook forks: a hook that forks, ends the child and leaves the rest of the
//! steps to the fork (`daemon(3)`, a double fork).
//!
//! The fork has the shared block mapped too and runs the program, but it is no
//! child of this process. The launch returns the child that was cloned, which
//! has ended by then, as std does.
//!
//! One word of the block decides ([`slot::CLAIM`]): the first process that
//! returns from the last hook, or fails in one, sets it, and its outcome is
//! reported. The parent sets it when it stops waiting, and then no process
//! runs the rows after the hooks.

use super::end::end;
use super::outcome::Outcome;
use super::proc_files;
use super::robust_futex::sleep_briefly;
use super::shared_block::SharedBlock;
use crate::call::{Block, slot};
use crate::sys::call::{futex_wait, monotonic_now};
use crate::sys::claim::{CLOSED, claim};
use crate::sys::wait::{Ended, Kind, Target, is_seen, wait, wait_for_end};
use crate::sys::{Errno, Pid, number};

/// How long, in nanoseconds, a fork may take from the end of its parent to
/// the end of its hooks: the first if the parent ended by `_exit(0)`, the
/// second after any other end, which is most likely a failure. A fork that
/// takes longer is made to exit.
const LIMIT: i64 = 1_000_000_000;
const SHORT_LIMIT: i64 = 20_000_000;

/// The timeout of one wait for a slot.
const POLL_TIMEOUT: i64 = 1_000_000;

/// A time limit for a fork that is past its hooks. It starts when it is first
/// asked about.
pub(super) struct GracePeriod(Option<i64>);

impl GracePeriod {
    pub(super) fn new() -> GracePeriod {
        GracePeriod(None)
    }

    pub(super) fn is_over(&mut self) -> bool {
        let end = self.0.get_or_insert_with(|| monotonic_now() + LIMIT);
        monotonic_now() > *end
    }
}

/// The bits of a claimed word that are a thread id.
const TID: u64 = 0x3fff_ffff;

/// Whether another process than the child was the first to return from the
/// last hook or to fail in one.
pub(super) fn claimed_by_fork(block: &Block) -> bool {
    let child = block.slot(slot::HOOK_THREAD);
    let claim = block.slot(slot::CLAIM);
    claim & TID != 0 && claim & TID != child & TID
}

/// Whether a fork is to exec the program, or has.
pub(super) fn fork_continues(block: &Block) -> bool {
    let closed = block.slot(slot::CLAIM) & u64::from(CLOSED) != 0;
    claimed_by_fork(block) && !closed && block.failed == 0
}

/// Whether the child or a fork has reached the first exec row. With hooks the
/// row reached does not show it: a fork that is too late writes its row too,
/// but not [`slot::HOOKS_DONE`].
pub(super) fn has_reached_exec(block: &Block, exec: u32) -> bool {
    match block.slot(slot::HOOK_THREAD) {
        0 => block.reached >= exec,
        _ => block.slot(slot::HOOKS_DONE) != 0,
    }
}

/// Whether the process that set the claim has exec'd; `None` if /proc cannot
/// be read, or the ids in the block are those of another PID namespace.
pub(super) fn claimant_has_execd(
    block: &Block,
    target: Target,
) -> Option<bool> {
    let id = |n| Pid::new(number(block.slot(n) & TID));
    let same_namespace = id(slot::HOOK_THREAD) == Some(target.pid);
    let claimant = id(slot::CLAIM).filter(|_| same_namespace);
    claimant.and_then(proc_files::has_execd)
}

/// Whether a copied child whose word is released, or that has ended, leaves
/// the rest to a fork, which by then has stored its own id in the word.
pub(super) fn continues_in_fork(shared: &SharedBlock, target: Target) -> bool {
    if is_in_hooks(&shared.read()) {
        // The child has ended, or a hook has exec'd another program.
        let ended = match wait_for_end(target, Kind::Clone) {
            Ok(ended) => ended,
            Err(_) if is_reaped_elsewhere(target) => {
                // The kernel tells the status of one that it has reaped.
                wait(target, Kind::Any, true).ok().flatten()
            }
            Err(_) => return false,
        };
        close_claim(shared, ended);
    }
    let until = monotonic_now() + LIMIT;
    while fork_continues(&shared.read()) && monotonic_now() < until {
        if shared.read().slot(slot::HOOKS_DONE) != 0 {
            return true;
        }
        wait_for_slot(shared, slot::HOOKS_DONE);
    }
    false
}

/// Whether another thread, or the kernel, has reaped the child.
fn is_reaped_elsewhere(target: Target) -> bool {
    is_seen(target, Kind::Any) == Ok(false)
}

/// Whether the child has started its hooks and no process has set the claim.
pub(super) fn is_in_hooks(block: &Block) -> bool {
    let started = block.slot(slot::HOOK_THREAD) != 0;
    started && block.slot(slot::CLAIM) == 0
}

/// Waits a limited time for a fork of a child that ended in its hooks, and
/// then sets the claim, so that no fork runs the rows after the hooks.
pub(super) fn close_claim(shared: &SharedBlock, ended: Option<Ended>) {
    let exit_0 = Ended { code: libc::CLD_EXITED, status: 0 };
    let limit = if ended == Some(exit_0) { LIMIT } else { SHORT_LIMIT };
    let end = monotonic_now() + limit;
    while is_in_hooks(&shared.read()) && monotonic_now() < end {
        wait_for_slot(shared, slot::CLAIM);
    }
    claim(shared.atomic(slot::CLAIM), CLOSED);
}

/// Waits a moment, or until a slot that is 0 has another value.
fn wait_for_slot(shared: &SharedBlock, n: u8) {
    let usual = [libc::EAGAIN, libc::ETIMEDOUT, libc::EINTR];
    match futex_wait(shared.atomic(n), 0, POLL_TIMEOUT) {
        // A seccomp filter rejects the call.
        Err(Errno(errno)) if !usual.contains(&errno) => sleep_briefly(),
        _ => {}
    }
}

/// Returns the outcome of a launch that a fork has claimed. This process
/// cannot wait for the fork. After a failure no process is left.
pub(super) fn outcome_of_fork(
    shared: &SharedBlock,
    target: Target,
) -> Outcome {
    // A fork that fails sets the claim before it writes its row.
    let until = monotonic_now() + LIMIT;
    let is_known = |block: &Block| block.failed != 0 || fork_continues(block);
    while !is_known(&shared.read()) && monotonic_now() < until {
        wait_for_slot(shared, slot::HOOKS_DONE);
    }
    let block = shared.read();
    let Target { pid, pidfd, .. } = target;
    if fork_continues(&block) {
        return Outcome::Running { pid, pidfd, confirmed: false };
    }
    let _ = end(target);
    match block.failed {
        0 => Outcome::Died { row: block.reached, ended: None, pidfd },
        _ => Outcome::failed(&block, pidfd),
    }
}
