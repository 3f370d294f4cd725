//! Listener: the parent takes the descriptor that notifies of the calls of a
//! seccomp filter from a child that must not make a call of its own by then.
//!
//! The child stores the number of its descriptor and waits, if the filter
//! allows that, or else repeats a row that makes no system call, until the
//! parent has a copy of the descriptor (`pidfd_getfd`). The parent sleeps
//! between its looks, so that a child of a real-time thread can run.
//!
//! Until the child has exec'd, the notifications are of its own calls: exec,
//! and its exit after a failure. The parent answers them. It must not receive
//! one of the program, so it asks for the exec after a notification is there
//! and before it receives it: a child that waits for an answer has not
//! exec'd.
#![allow(unsafe_code, reason = "borrows a descriptor that has no owner yet")]

use core::cell::RefCell;
use core::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::end::end;
use super::robust_futex::{is_released, sleep_briefly};
use super::shared_block::SharedBlock;
use super::stop_signals::resume;
use crate::call::slot;
use crate::sys::Errno;
use crate::sys::call::{futex_wait, futex_wake};
use crate::sys::seccomp::{is_listener, receive, respond};
use crate::sys::wait::Target;

/// Takes the descriptor, or the errno with which that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listener<'a>(
    pub(crate) &'a RefCell<Option<Result<OwnedFd, Errno>>>,
);

/// The first and the longest time in nanoseconds that the parent sleeps.
const FIRST_PAUSE: i64 = 50_000;
const LAST_PAUSE: i64 = 1_000_000;

/// Takes the descriptor of a child's filter, and answers its notifications
/// until the child has exec'd or ended. Returns false if it could not be
/// taken: the child is then killed and reaped.
pub(super) fn attend(
    block: &SharedBlock,
    listener: Option<Listener<'_>>,
    target: Target,
    has_ended: impl Fn() -> bool,
) -> bool {
    let Some(Listener(cell)) = listener else { return true };
    let word = block.atomic(slot::ROBUST_FUTEX);
    let is_over = || is_released(word.load(Ordering::Acquire));
    let has_ended = || {
        resume(target);
        has_ended()
    };
    let Some(number) = wait_for_number(block, &is_over, &has_ended) else {
        return true;
    };
    let taken = take(target, number);
    if let Ok(fd) = &taken {
        let word = block.atomic(slot::LISTENER_TAKEN);
        word.store(1, Ordering::Release);
        futex_wake(word);
        answer(fd.as_fd(), target, &is_over, &has_ended);
    } else {
        block.store_error(slot::LISTENER_TAKEN, libc::ECANCELED);
        futex_wake(block.atomic(slot::LISTENER_TAKEN));
        let _ = end(target);
    }
    let done = taken.is_ok();
    *cell.borrow_mut() = Some(taken);
    done
}

/// Waits for the number of the descriptor. `None`: the child has failed or
/// ended before.
fn wait_for_number(
    block: &SharedBlock,
    is_over: &dyn Fn() -> bool,
    has_ended: &dyn Fn() -> bool,
) -> Option<i32> {
    let word = block.atomic(slot::LISTENER);
    let mut pause = FIRST_PAUSE;
    loop {
        // An errno and "none" are negative.
        let value = word.load(Ordering::Acquire);
        if let Ok(number) = i32::try_from(value) {
            return Some(number);
        }
        if is_over() {
            return None;
        }
        let Err(Errno(errno)) = futex_wait(word, value, pause) else {
            continue;
        };
        match errno {
            libc::EAGAIN => continue,
            libc::ETIMEDOUT => pause = (pause * 2).min(LAST_PAUSE),
            libc::EINTR => {}
            _ => sleep_briefly(),
        }
        if has_ended() {
            return None;
        }
    }
}

fn take(target: Target, number: i32) -> Result<OwnedFd, Errno> {
    let pidfd = target.pidfd.ok_or(Errno(libc::ENOSYS))?;
    // SAFETY: clause 2 of this directory: the kernel wrote the number into
    // this launch's own block, and no code has taken or closes it meanwhile.
    let pidfd = unsafe { BorrowedFd::borrow_raw(pidfd) };
    let flags = PidfdGetfdFlags::empty();
    let errno = |e: rustix::io::Errno| Errno(e.raw_os_error());
    let fd = pidfd_getfd(pidfd, number, flags).map_err(errno)?;
    if !is_listener(fd.as_fd()) {
        return Err(Errno(libc::EBADF));
    }
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    fcntl_dupfd_cloexec(&fd, 3).map_err(errno)
}

/// Answers notifications until the child has exec'd or ended.
fn answer(
    listener: BorrowedFd<'_>,
    target: Target,
    is_over: &dyn Fn() -> bool,
    has_ended: &dyn Fn() -> bool,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: pause };
        let ready = poll(&mut fds, Some(&limit));
        // After the notification is there: see above.
        if is_over() {
            return;
        }
        if fds[0].revents().contains(PollFlags::IN) {
            if let Ok(call) = receive(listener) {
                respond(listener, call.id, call.pid == target.pid.get());
            }
            continue;
        }
        if has_ended() {
            return;
        }
        match ready {
            Ok(0) => pause = (pause * 2).min(LAST_PAUSE),
            // No process has the filter any more.
            _ => sleep_briefly(),
        }
    }
}
