//! Model: waits, signals and drops on several threads, in every order.
//!
//! The files of `src/` that wait for a child and signal it are compiled into
//! this program, as they are, on top of a kernel that is a model and of locks
//! of loom, which runs the threads in every order (up to a number of
//! preemptions). The kernel gives the process id of a child to another process
//! of the caller as soon as the child is reaped, and fails the test if a wait
//! or a signal by number reaches that.
//!
//! Each of these changes of the sources was seen to fail a test here:
//!
//! - `signal`, or `signal_group`, sends by number without the lock, or unlocks
//!   between the look and the signal.
//! - `signal_group` does not look whether the leader was reaped.
//! - `wait` waits by number although others may reap: where a pidfd cannot be
//!   waited for, that was so before this model.
//! - Two threads wait by number at once.
//! - `try_wait` reaps while a thread waits by number, or without the lock.
//! - The thread that waits by number does not wake the others, does not store
//!   the status, does not look again under the lock, or never says that it has
//!   stopped waiting.
//! - The drop does not put a child on the list, puts one there that has another
//!   lock than its handles, or sets the flag before it does, or never.
//! - `reap_dropped` forgets the children that still run.
//! - `WaitSet` wakes nobody after a removal, after the insertion of a child
//!   without a pidfd, or at the return of another thread; does not count those
//!   that wait; returns an end to nobody.

// The sources say `rustix::event::poll`: here that is the model's.
extern crate self as rustix;

mod calls;
mod epoll;
mod event;
mod kernel;
mod locks;
#[allow(
    dead_code,
    unreachable_pub,
    unnameable_types,
    reason = "files of the library, whose names are public there"
)]
mod parent;
mod resources;
#[allow(dead_code, reason = "files of the library, with all they have")]
mod sys;

mod controls;
mod drops;
mod explore;
mod sets;
mod waits;

/// As `rustix::fd`.
mod fd {
    pub(crate) use std::os::fd::BorrowedFd;
}

/// As `rustix::io`.
mod io {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Errno(pub(crate) i32);

    impl Errno {
        pub(crate) const INTR: Errno = Errno(libc::EINTR);
        pub(crate) const PERM: Errno = Errno(libc::EPERM);

        pub(crate) fn raw_os_error(self) -> i32 {
            self.0
        }
    }
}

/// What errors say of a table of rows, which are not in the model.
mod call {
    pub(crate) type VerifyError = std::convert::Infallible;
}
