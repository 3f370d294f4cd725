//! Engine copied: memory copied, the caller woken by a robust futex.
//!
//! The block lies in a page that both processes map. The child registers a
//! robust list whose one lock word lies there too and marks the word as held
//! by itself; the kernel lets go of it, and wakes us, when the child execs
//! or dies. So the wait takes signals, needs no descriptor that a fork
//! elsewhere could keep open, and ends whoever else lives on.
#![allow(unsafe_code, reason = "the door of this engine")]

use core::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{Timespec, poll};

use super::shared::Shared;
use super::stops::resume;
use super::{LaunchArgs, Outcome, address, descriptor, forked, gate};
use super::{make, pidfd_slot, seat, verdict};
use crate::call::{Block, Table, slot};
use crate::child::enter;
use crate::sys::abi::CloneArgs;
use crate::sys::call::{
    block_signals, futex_wait, pidfd_open, set_signal_mask,
};
use crate::sys::wait::{Kind, Target, peek};
use crate::sys::{CloneCall, CloneFlags, Errno, Pid};

/// `FUTEX_OWNER_DIED`: the kernel let go of the word.
const OWNER_DIED: u32 = 0x4000_0000;

/// The first wait, in nanoseconds; each that ends without news doubles, up to
/// the last.
const FIRST_WAIT: i64 = 20_000_000;
const LAST_WAIT: i64 = 640_000_000;

/// Makes a child with its own memory that walks `table`, and returns when it
/// runs the program or is gone.
pub(crate) fn launch(
    table: &Table<'_>,
    block: &mut Block,
    ask: LaunchArgs<'_>,
) -> Outcome {
    let ask = ask.with(CloneFlags::COPIED);
    let mut shared = match Shared::new(block) {
        Ok(shared) => shared,
        Err(errno) => return Outcome::Refused(errno),
    };
    let at = shared.at();
    seat(shared.block(), at, ask);
    let mut args = CloneArgs::default();
    let pidfd = pidfd_slot(ask);
    let (nr, arguments) = make(ask, &mut args, address(at, pidfd), 0);
    let mask = block_signals(ask.clone_call == CloneCall::Clone);
    shared.block().set(slot::MASK, mask);
    // SAFETY: clause 1 of `enter`: clone3 or clone without a stack, what it
    // reads in this frame and the pidfd's slot in the mapping. Clause 2:
    // COPIED lacks VM, so the child has copies of the table; the mapping
    // outlives this call. Clause 3: `seat` has set the address slots.
    // Clause 4: clause 6 of this folder.
    let made = unsafe { enter(nr, arguments, table, at) };
    set_signal_mask(mask);
    let Some(pid) = Pid::new(made) else {
        let errno = Errno::of(made).unwrap_or(Errno(libc::EINVAL));
        return Outcome::Refused(errno);
    };
    let pidfd = shared.half(pidfd).load(Ordering::Relaxed);
    let pidfd = descriptor(pidfd.into()).or_else(|| pidfd_open(pid));
    let target = Target { pid, pidfd };
    if !gate::pass(&shared, ask.gate, target, || ended(target)) {
        *block = shared.read();
        return Outcome::Stopped { pidfd };
    }
    let word = shared.half(slot::WORD);
    await_word(word, is_free, || {
        resume(target);
        // Of a fork that has failed while the child lives.
        ended(target) || shared.read().failed != 0
    });
    if forked::leaves(&shared, target) {
        await_word(word, is_free, || shared.read().failed != 0);
    }
    *block = shared.read();
    if !forked::is_another(block) {
        return verdict(table, block, pid, pidfd);
    }
    let made = forked::verdict(&shared, target);
    *block = shared.read();
    made
}

/// Whether the kernel has let go of the word.
pub(super) fn is_free(value: u32) -> bool {
    value & OWNER_DIED != 0
}

/// Sleeps until the word is as it should be, or the child has `ended`
/// without ever having taken it.
pub(super) fn await_word(
    word: &AtomicU32,
    is_over: impl Fn(u32) -> bool,
    ended: impl Fn() -> bool,
) {
    let mut limit = FIRST_WAIT;
    loop {
        let value = word.load(Ordering::Acquire);
        if is_over(value) {
            return;
        }
        let Err(Errno(errno)) = futex_wait(word, value, limit) else {
            continue;
        };
        match errno {
            // The word is another by now.
            libc::EAGAIN => continue,
            libc::ETIMEDOUT => limit = (limit * 2).min(LAST_WAIT),
            // A wait that is interrupted begins anew with its whole time, so
            // that a timer of the caller's could keep it from ever ending.
            libc::EINTR => {}
            // A filter refuses it.
            _ => pause(),
        }
        if ended() {
            return;
        }
    }
}

/// Sleeps for a millisecond where there is no futex to sleep by.
pub(super) fn pause() {
    let limit = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let _ = poll(&mut [], Some(&limit));
}

/// Whether the child has ended or exec'd, without taking it from `verdict`.
fn ended(target: Target) -> bool {
    matches!(
        peek(target, Kind::Silent),
        Ok(Some(_)) | Err(Errno(libc::ECHILD))
    )
}
