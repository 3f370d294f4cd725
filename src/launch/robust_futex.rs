//! Robust futex: a wait for a word that the kernel releases at the child's
//! exec and at its death.
//!
//! The child registers a robust list ([`set_robust_list(2)`]) with the word on
//! it and stores its thread id there. The wait can be interrupted by signals,
//! needs no descriptor that a fork in another thread could keep open, and ends
//! even if other processes keep running.
//!
//! [`set_robust_list(2)`]: https://man7.org/linux/man-pages/man2/set_robust_list.2.html

use core::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{Timespec, poll};

use crate::sys::Errno;
use crate::sys::call::futex_wait;

/// `FUTEX_OWNER_DIED`: the kernel has released the word.
const OWNER_DIED: u32 = 0x4000_0000;

/// The first timeout in nanoseconds. Each wait that times out doubles it, up
/// to the last.
const FIRST_TIMEOUT: i64 = 20_000_000;
pub(super) const LAST_TIMEOUT: i64 = 640_000_000;
/// The only one where another thread may have the child killed.
pub(super) const WATCHED_TIMEOUT: i64 = FIRST_TIMEOUT;

/// Whether the kernel has released the word.
pub(super) fn is_released(value: u32) -> bool {
    value & OWNER_DIED != 0
}

/// Waits until `is_done` accepts the word's value, or `has_ended` returns
/// true for a child that ended without ever having stored its id there.
pub(super) fn wait_for(
    word: &AtomicU32,
    last_timeout: i64,
    is_done: impl Fn(u32) -> bool,
    has_ended: impl Fn() -> bool,
) {
    let mut timeout = FIRST_TIMEOUT;
    loop {
        let value = word.load(Ordering::Acquire);
        if is_done(value) {
            return;
        }
        let Err(Errno(errno)) = futex_wait(word, value, timeout) else {
            continue;
        };
        match errno {
            // The word has changed.
            libc::EAGAIN => continue,
            libc::ETIMEDOUT => timeout = (timeout * 2).min(last_timeout),
            // An interrupted wait starts again with its whole timeout, so a
            // periodic timer of the caller could keep it from ever timing
            // out: `has_ended` is called here too.
            libc::EINTR => {}
            // A seccomp filter rejects the call.
            _ => sleep_briefly(),
        }
        if has_ended() {
            return;
        }
    }
}

/// Sleeps for a millisecond, where the futex call is rejected.
pub(super) fn sleep_briefly() {
    let limit = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let _ = poll(&mut [], Some(&limit));
}
