//! Engine isolated: memory shared up to a first exec, of an image in memory;
//! the rest of the rows run there, in memory of its own.
//!
//! The caller sleeps in the kernel until that exec, as in the engine
//! suspended. From there the child reports through a page that both map, and
//! the kernel wakes the caller by a robust futex in it, at the exec of the
//! program or at death. What the page holds is read once, and trusted no
//! further than a row's number that is looked up.
#![allow(unsafe_code, reason = "the door of this engine")]

use core::ptr;
use core::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::copied::{await_word, is_free};
use super::stops::resume;
use super::{LaunchArgs, Outcome, address, descriptor, ended, execd, failed};
use super::{first_exec, gate, make};
use super::{pidfd_slot, seat, seat_name, shared::Shared, verdict};
use crate::call::{Block, Table, helper_table, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{block_signals, end, is_ending, lives, pidfd_open};
use crate::sys::call::{reaped_status, set_signal_mask};
use crate::sys::wait::{Kind, Target, keeps_its_number, peek, wait};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid, bits};

/// Which rows of the plan run in the image: its first, and the first that
/// runs the program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) first: u32,
    pub(crate) exec: u32,
}

/// Makes a child that walks `table`, whose last row runs the image, and
/// returns when the program runs or the child is gone. The block that comes
/// back is the one that was written last.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: LaunchArgs<'_>,
    page: &mut Shared,
    inside: Inside,
) -> Outcome {
    let ask = ask.with(CloneFlags::SUSPENDED);
    page.fill(block);
    let there = usize::try_from(helper_table::STATUS_PAGE).unwrap_or_default();
    seat(page.block(), ptr::without_provenance_mut(there), ask);
    seat_name(page.block());
    seat_words(page.block(), ptr::without_provenance_mut(there));
    let at: *mut Block = block;
    seat(block, at, ask);
    let mut args = CloneArgs::default();
    let pidfd = pidfd_slot(ask);
    let (nr, arguments) = make(ask, &mut args, address(at, pidfd), 0);
    let mask = block_signals(ask.clone_call == CloneCall::Clone);
    page.block().set(slot::MASK, mask);
    let at: *mut Block = block;
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack, what it
    // reads and the pidfd's slot alive in this frame. Clause 2: clauses 2 and
    // 3 of this folder, as SUSPENDED holds VM and VFORK; the page is reached
    // by the image in a mapping of its own. Clause 3: `seat` has set the
    // address slots. Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(made) else {
        return Outcome::Refused(
            Errno::of(made).unwrap_or(Errno(libc::EINVAL)),
        );
    };
    let pidfd = descriptor(block.slot(pidfd));
    // A child that came to its exec is the image, or the page stays as it
    // is: that is found out there.
    let entered = block.failed == 0 && block.reached >= first_exec(table);
    let (pid, pidfd) = match entered {
        true => (pid, pidfd.or_else(|| pidfd_open(pid))),
        false => match verdict(table, block, pid, pidfd) {
            Outcome::Running { pid, pidfd, .. } => (pid, pidfd),
            other => return other,
        },
    };
    let target = Target { pid, pidfd };
    if !gate::pass(page, ask.gate, target, || ended(target)) {
        return Outcome::Stopped { pidfd };
    }
    // Not the page's own: the child may write there.
    let apart = block.slot(slot::APART) != 0;
    program(page, target, block, inside, apart)
}

/// The words of an image that execs in a second thread: two that this one
/// holds; and one that either thread is about to take for ever, which the
/// kernel wakes at in any case.
fn seat_words(block: &mut Block, base: *mut Block) {
    if block.slot(slot::APART) == 0 {
        return;
    }
    let at = |n| address(base, n);
    block.set(slot::SECOND_HEAD, at(slot::SECOND_NODE));
    block.set(slot::SECOND_NODE, at(slot::EXECED_NODE));
    block.set(slot::EXECED_NODE, at(slot::SECOND_HEAD));
    block.set(slot::SECOND_HEAD + 1, block.slot(slot::HEAD + 1));
    let bell = at(slot::BELL + (slot::NODE - slot::WORD));
    block.set(slot::HEAD + 2, bell);
    block.set(slot::SECOND_HEAD + 2, bell);
    block.set(slot::PEER, 1);
}

/// Waits for the image to have become the program, or to be gone.
fn program(
    page: &Shared,
    target: Target,
    block: &mut Block,
    inside: Inside,
    apart: bool,
) -> Outcome {
    let Target { pid, pidfd } = target;
    let word = if apart { slot::BELL } else { slot::WORD };
    let half = |n| page.half(n).load(Ordering::Acquire);
    let release_cached = |n| is_free(half(n));
    // The first thread's death is that of all, unless the second ends it.
    let all = || release_cached(slot::WORD) && half(slot::SECOND) == 0;
    let over = |_| {
        all() || release_cached(slot::SECOND) || release_cached(slot::EXECED)
    };
    await_word(page.half(word), over, || {
        resume(target);
        ended(target)
    });
    *block = page.read();
    if block.failed != 0 {
        // A failed image is an ordinary child: another thread may have
        // waited for it. What it said stands in the page. Should a filter
        // let it end one thread only, the other is ended here.
        if apart {
            let _ = end(target);
        }
        let _ = wait(target, Kind::Any, true);
        return failed(block, pidfd);
    }
    let died = || {
        let row = block.reached.max(inside.first);
        let ended = wait(target, Kind::Any, true).ok().flatten();
        Outcome::Died { row, ended, pidfd }
    };
    let running = |confirmed| Outcome::Running { pid, pidfd, confirmed };
    let read = |n| block.slot(n) & u64::from(u32::MAX);
    if apart && read(slot::SECOND) != 0 {
        // The first thread may have marked its last row later.
        return match u32::try_from(read(slot::EXECED)).is_ok_and(is_free) {
            true => running(true),
            false => died(),
        };
    }
    if block.reached < inside.exec {
        return died();
    }
    // The word says that its memory is gone, by exec or by death.
    match became(target, block) {
        Some(true) => running(true),
        Some(false) => died(),
        None => running(false),
    }
}

/// Whether a child that has lost the image's memory is the program by now, or
/// has died as the image; `None` if nobody knows.
///
/// Nothing here waits by yielding: a caller of a higher priority would keep
/// its own child from the processor.
fn became(target: Target, block: &Block) -> Option<bool> {
    let refused = bits(-i64::from(libc::EBADF));
    let asks = block.slot(slot::ENDING) == refused;
    match target.pidfd.filter(|_| asks).and_then(is_ending) {
        // It has lost its memory and goes on: that was exec.
        Some(false) => return Some(true),
        // At exec and since killed or over; or at death.
        Some(true) => {}
        // A lock can be waited for whose owner has not ended.
        None if lives(target.pid) == Some(true)
            && keeps_its_number(target) =>
        {
            return Some(true);
        }
        None => {}
    }
    by_name(target, block)
}

/// How long a child that has its image's name still is left alone before it
/// is looked at again: it is a few microseconds from exec, or ending.
const FIRST_PAUSE: i64 = 20_000;
const LAST_PAUSE: i64 = 1_000_000;

/// As `became`: exec takes the name away that the image gave itself. A look
/// at it costs 20 us: the kernel makes files for it in /proc.
fn by_name(target: Target, block: &Block) -> Option<bool> {
    let mut pause = 0;
    loop {
        // Seen before the name is: it may end in between.
        let over = is_over(target, pause);
        if over && has_exited(target) {
            // An image that exits says why.
            return Some(true);
        }
        let named = is_named(target.pid, block);
        match named.filter(|_| keeps_its_number(target)) {
            Some(false) => return Some(true),
            Some(true) if over => return Some(false),
            Some(true) => {}
            // No /proc, or somebody else has reaped it.
            None => return has_exited(target).then_some(true),
        }
        pause = (2 * pause).clamp(FIRST_PAUSE, LAST_PAUSE);
    }
}

/// Sleeps for so many nanoseconds, or until the child has ended, and says
/// whether it has.
fn is_over(target: Target, nanoseconds: i64) -> bool {
    let pause = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let Some(pidfd) = target.pidfd else {
        let _ = poll(&mut [], Some(&pause));
        return ended(target);
    };
    // SAFETY: clause 2 of this folder: the kernel wrote the number into this
    // launch's own block, and nobody has taken it or closes it meanwhile.
    let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&pause)).is_ok_and(|ready| ready != 0)
}

/// Whether it has ended by an exit, whoever has reaped it (then from Linux
/// 6.15 on).
fn has_exited(target: Target) -> bool {
    match peek(target, Kind::Any) {
        Ok(ended) => ended.is_some_and(|ended| ended.signal().is_none()),
        Err(_) => {
            let status = target.pidfd.and_then(reaped_status);
            status.is_some_and(|status| libc::WIFEXITED(status))
        }
    }
}

/// Whether a process still has the name that its image gave it; `None` if
/// that cannot be read.
fn is_named(pid: Pid, block: &Block) -> Option<bool> {
    let mut name = [0u8; 32];
    let name = execd::read(pid, b"/comm", &mut name)?.strip_suffix(b"\n")?;
    let word = |n| u128::from(block.slot(slot::COMM + n));
    let own = (word(0) | word(1) << 64).to_le_bytes();
    let len = own.iter().position(|byte| *byte == 0)?;
    Some(own.get(..len)? == name)
}
