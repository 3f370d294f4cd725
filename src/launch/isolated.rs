//! Isolated engine: the child first execs a small helper, from a sealed memfd;
//! the remaining rows run there, in memory of its own.
//!
//! Memory is shared, and the caller suspended, until that exec, as in the
//! suspended engine. The helper reports through the status page, which both
//! map, and a robust futex in it wakes the caller at the exec of the program
//! or at death. The page's contents are read once. They are untrusted: all
//! that is taken from them is a row's number, which is looked up, an errno and
//! whether the exec happened.
#![allow(unsafe_code, reason = "clones into shared memory")]

use core::sync::atomic::Ordering;
use core::{mem, ptr};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::args::{LaunchArgs, fd_in};
use super::end::end;
use super::environ::fill_listen_pid_name;
use super::outcome::Outcome;
use super::reap::{first_exec_row, has_ended};
use super::robust_futex::{is_released, wait_for};
use super::shared_block::SharedBlock;
use super::stop_signals::resume_traced;
use super::watch::{Watched, Words};
use super::{gate, listener, proc_files, sibling};
use crate::call::{Block, Table, helper_table, slot};
use crate::child::enter;
use crate::sys::call::set_signal_mask;
use crate::sys::call::{block_signals, is_ending, is_running};
use crate::sys::pidfd::{self, reaped_status};
use crate::sys::wait::{Kind, Target, is_unreaped, peek, wait};
use crate::sys::{CloneCall, CloneFlags, Pid, bits};

/// The rows of the plan that run in the helper: the first of them, and the
/// first that execs the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HelperRows {
    pub(crate) first: u32,
    pub(crate) exec: u32,
}

/// Makes a child that runs `table`, whose last row execs the helper. Returns
/// when the child has exec'd the program or has ended. Afterwards `block` is
/// the one of the two that was written last.
// A frame that other engines do not need.
#[inline(never)]
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    args: LaunchArgs<'_>,
    status_page: &mut SharedBlock,
    helper_rows: HelperRows,
) -> Outcome {
    let args = args.with_engine_flags(CloneFlags::SUSPENDED);
    status_page.fill(block);
    let base = usize::try_from(helper_table::STATUS_PAGE).unwrap_or_default();
    let base = ptr::without_provenance_mut(base);
    args.fill_slots(status_page.block(), base);
    fill_listen_pid_name(status_page.block());
    fill_thread_slots(status_page.block(), base);
    let at: *mut Block = block;
    args.fill_slots(block, at);
    let mut clone_args = args.clone_args(at);
    let pidfd = args.pidfd_slot();
    let pidfd_at = Block::slot_address(at, pidfd);
    let (nr, arguments) = args.system_call(&mut clone_args, pidfd_at, 0);
    let mask = block_signals(args.clone_call == CloneCall::Clone);
    let program_mask = args.mask.unwrap_or(mask);
    status_page.block().set(slot::SIGMASK, program_mask);
    let at: *mut Block = block;
    let words = Words::new(at, status_page.at(), pidfd);
    let watched = Watched::new(args.watch, words);
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack;
    // `clone_args` and the pidfd's slot live in this frame. Clause 2: clauses
    // 2 and 3 of this directory, as SUSPENDED contains VM and VFORK; the
    // helper accesses the status page through its own mapping. Clause 3:
    // `fill_slots` has set the address slots. Clause 4: clause 6 of this
    // directory.
    let result = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(result) else {
        return Outcome::rejected(result);
    };
    let pidfd = fd_in(block.slot(pidfd));
    // A child that has begun its exec row has exec'd the helper or died; what
    // the status page says afterwards tells which.
    let began_exec = block.reached >= first_exec_row(table);
    let (pid, pidfd) = match block.failed == 0 && began_exec {
        true => (pid, pidfd.or_else(|| pidfd::open(pid).ok())),
        false => match args.outcome_of(table, block, pid, pidfd) {
            Outcome::Running { pid, pidfd, .. } => (pid, pidfd),
            other => return other,
        },
    };
    let target = args.target(pid, pidfd);
    let has_ended = || args.has_ended(target, has_ended);
    if !gate::open(
        status_page,
        args.gate,
        args.last_timeout(),
        target,
        has_ended,
    ) {
        return Outcome::Stopped { pidfd };
    }
    if !listener::attend(status_page, args.listener, target, has_ended) {
        return Outcome::Stopped { pidfd };
    }
    // Read from the block: the child may write the status page.
    let threaded = block.slot(slot::EXEC_IN_THREAD) != 0;
    wait_for_release(status_page, target, threaded, args, has_ended);
    mem::drop(watched);
    read_page(block, status_page, args.pidfd_slot());
    if args.is_sibling() {
        return outcome_of_sibling(target, block, helper_rows);
    }
    outcome_of_helper(target, block, helper_rows, threaded)
}

/// Copies the status page into the block. What the kernel has written to that
/// stays: the page, which the child may write, has other words there.
fn read_page(block: &mut Block, status_page: &SharedBlock, pidfd: u8) {
    let made = [slot::CHILD_TID, pidfd].map(|n| (n, block.slot(n)));
    let mut last = status_page.read();
    for (n, word) in made {
        last.set(n, word);
    }
    *block = last;
}

/// Fills the slots of a helper that execs in a second thread: the robust list
/// of that thread with its two futexes, and the futex that is the pending
/// operation of both threads' lists, at which the kernel wakes a waiter in any
/// case.
fn fill_thread_slots(block: &mut Block, base: *mut Block) {
    if block.slot(slot::EXEC_IN_THREAD) == 0 {
        return;
    }
    let at = |n| Block::slot_address(base, n);
    block.set(slot::THREAD_HEAD, at(slot::THREAD_NODE));
    block.set(slot::THREAD_NODE, at(slot::EXEC_NODE));
    block.set(slot::EXEC_NODE, at(slot::THREAD_HEAD));
    block.set(slot::THREAD_HEAD + 1, block.slot(slot::ROBUST_HEAD + 1));
    let distance = slot::ROBUST_NODE - slot::ROBUST_FUTEX;
    let pending = at(slot::PENDING_FUTEX + distance);
    block.set(slot::ROBUST_HEAD + 2, pending);
    block.set(slot::THREAD_HEAD + 2, pending);
    block.set(slot::CLEAR_TID, 1);
}

/// Waits until the helper has exec'd the program or has ended, both of which
/// release its futexes.
fn wait_for_release(
    status_page: &SharedBlock,
    target: Target,
    threaded: bool,
    args: LaunchArgs<'_>,
    has_ended: impl Fn() -> bool,
) {
    let word = match threaded {
        true => slot::PENDING_FUTEX,
        false => slot::ROBUST_FUTEX,
    };
    let load = |n| status_page.atomic(n).load(Ordering::Acquire);
    let released = |n| is_released(load(n));
    // The first thread's end is the end of the process, unless there is a
    // second thread, whose exec ends the first.
    let first_ended =
        || released(slot::ROBUST_FUTEX) && load(slot::THREAD_FUTEX) == 0;
    let is_done = |_| {
        first_ended()
            || released(slot::THREAD_FUTEX)
            || released(slot::EXEC_FUTEX)
    };
    wait_for(status_page.atomic(word), args.last_timeout(), is_done, || {
        args.resume(target);
        if args.traced {
            // Exec releases the word before its stop.
            resume_traced(target, || released(word));
        }
        has_ended()
    });
}

/// Returns the outcome of a helper whose futexes are released, by what it has
/// left in the status page.
fn outcome_of_helper(
    target: Target,
    block: &Block,
    helper_rows: HelperRows,
    threaded: bool,
) -> Outcome {
    let Target { pid, pidfd, .. } = target;
    if block.failed != 0 {
        // The helper is an ordinary child: another thread may have reaped
        // it, so the failed row is read from the page. Where a seccomp filter
        // lets it end one thread only, the other is killed here.
        if threaded {
            let _ = end(target);
        } else {
            let _ = wait(target, Kind::Any, true);
        }
        return Outcome::failed(block, pidfd);
    }
    let died = || {
        let row = block.reached.max(helper_rows.first);
        let ended = wait(target, Kind::Any, true).ok().flatten();
        // A child that exits reports a failed row. Linux 7.3 tells an exit of
        // one that it reaps itself and that was killed as a second thread of it
        // exec'd.
        let ended = ended
            .filter(|ended| !target.autoreaped || ended.signal().is_some());
        Outcome::Died { row, ended, pidfd }
    };
    let running = |confirmed| Outcome::Running { pid, pidfd, confirmed };
    let low = |n| block.slot(n) & u64::from(u32::MAX);
    if threaded && low(slot::THREAD_FUTEX) != 0 {
        // `reached` does not tell: the first thread may have written its last
        // row after the second.
        let exec = u32::try_from(low(slot::EXEC_FUTEX));
        return match exec.is_ok_and(is_released) {
            true => running(true),
            false => died(),
        };
    }
    if block.reached < helper_rows.exec {
        return died();
    }
    // The released word says that the helper's memory is gone, by exec or by
    // death.
    match has_become_program(target, block) {
        Some(true) => running(true),
        Some(false) => died(),
        None => running(false),
    }
}

/// As `outcome_of_helper`, for a sibling.
fn outcome_of_sibling(
    target: Target,
    block: &Block,
    helper_rows: HelperRows,
) -> Outcome {
    let began = block.reached >= helper_rows.exec;
    let row = block.reached.max(helper_rows.first);
    sibling::outcome(target, block, row, began, || match began {
        true => has_helper_name(target.pid, block).map(|named| !named),
        false => Some(false),
    })
}

/// Whether a child whose helper memory is gone has exec'd the program, rather
/// than died as the helper; `None` if that cannot be found out.
///
/// There is no wait here that yields the processor in a loop: a caller with a
/// real-time priority would keep its own child from running.
fn has_become_program(target: Target, block: &Block) -> Option<bool> {
    let available = bits(-i64::from(libc::EBADF));
    let available = block.slot(slot::MRELEASE) == available;
    match target.pidfd.filter(|_| available).and_then(is_ending) {
        // Its memory is gone and it is not ending: it has exec'd.
        Some(false) => return Some(true),
        // It has exec'd and is ending since, or died as the helper.
        Some(true) => {}
        None if is_running(target.pid) == Some(true)
            && is_unreaped(target) =>
        {
            return Some(true);
        }
        None => {}
    }
    has_lost_helper_name(target, block)
}

/// The first and the longest pause, in nanoseconds, before the name of a child
/// that still has its helper's is read again: it is a few microseconds from
/// exec, or ending.
const FIRST_PAUSE: i64 = 20_000;
const LAST_PAUSE: i64 = 1_000_000;

/// As `has_become_program`: exec replaces the name that the helper has set for
/// itself. Reading it costs 20 us, as the kernel creates its files in /proc.
fn has_lost_helper_name(target: Target, block: &Block) -> Option<bool> {
    let mut pause = 0;
    loop {
        // Before the name is read: the child may end in between.
        let ended = ends_within(target, pause);
        if ended && has_exited(target) {
            // A helper that exits reports a failed row: this is the program.
            return Some(true);
        }
        let named = has_helper_name(target.pid, block);
        match named.filter(|_| is_unreaped(target)) {
            Some(false) => return Some(true),
            Some(true) if ended => return Some(false),
            Some(true) => {}
            // There is no /proc, or another thread has reaped the child.
            None => return has_exited(target).then_some(true),
        }
        pause = (2 * pause).clamp(FIRST_PAUSE, LAST_PAUSE);
    }
}

/// Waits for so many nanoseconds or until the child has ended, and returns
/// whether it has.
fn ends_within(target: Target, nanoseconds: i64) -> bool {
    let pause = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let Some(pidfd) = target.pidfd else {
        let _ = poll(&mut [], Some(&pause));
        return has_ended(target);
    };
    // SAFETY: clause 2 of this directory: the kernel wrote the number into
    // this launch's own block, and no code has taken or closes it meanwhile.
    let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&pause)).is_ok_and(|ready| ready != 0)
}

/// Whether the child has ended by an exit. If another thread has reaped it,
/// this is known from Linux 6.15 on.
fn has_exited(target: Target) -> bool {
    match peek(target, Kind::Any) {
        Ok(ended) => ended.is_some_and(|ended| ended.signal().is_none()),
        Err(_) => {
            let status = target.pidfd.and_then(reaped_status);
            status.is_some_and(|status| libc::WIFEXITED(status))
        }
    }
}

/// Whether a process still has the name that the helper has set; `None` if it
/// cannot be read.
fn has_helper_name(pid: Pid, block: &Block) -> Option<bool> {
    let mut name = [0u8; 32];
    let name =
        proc_files::read(pid, b"/comm", &mut name)?.strip_suffix(b"\n")?;
    let word = |n| u128::from(block.slot(slot::COMM + n));
    let own = (word(0) | word(1) << 64).to_le_bytes();
    let len = own.iter().position(|byte| *byte == 0)?;
    Some(own.get(..len)? == name)
}
