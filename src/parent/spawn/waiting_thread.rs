//! Waiting thread: a thread that creates one child and lives as long as it, so
//! that it ends before the child only with the process.
//!
//! The kernel sends a parent death signal when the thread that created the
//! child ends. A thread that many spawns used could differ from the calling
//! one in what a child inherits: ids, filters, a landlock domain, namespaces,
//! processors, the descriptor table. A new thread has all of it from its
//! creator, where it can be created at all.
#![allow(unsafe_code, reason = "at first the thread borrows from its creator")]

use core::mem;

use crate::parent::error::{Error, Step};
use crate::parent::fd_table::{act_for, thread_id};
use crate::parent::std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::channel,
    thread::{self, Builder},
};
use crate::parent::support::{Known, known, set_known};
use crate::sys::call::block_signals_of_thread;
use crate::sys::wait::{Kind, Target, wait_for_end};
use crate::sys::{Errno, Pid};

/// Creates a child and returns its id, or `None` after a failure.
type Job<'a> = dyn FnMut() -> Option<Pid> + Send + 'a;

/// The address of a job that the creator of the thread keeps alive.
struct Borrowed(*mut Job<'static>);

// SAFETY: the job is `Send`, and only the new thread uses the address.
unsafe impl Send for Borrowed {}

impl Borrowed {
    /// # Safety
    ///
    /// The job lives until this returns, and no other thread uses it.
    unsafe fn run(self) -> Option<Pid> {
        // SAFETY: the caller's contract.
        unsafe { (*self.0)() }
    }
}

/// Calls `spawn` on a new thread, which then waits for the end of the child
/// that `pid` finds in the result. Returns the result, or continues the panic
/// of `spawn`.
pub(super) fn run<T: Send>(
    spawn: impl FnOnce() -> T + Send,
    pid: impl Fn(&T) -> Option<Pid> + Sync,
) -> Result<T, Error> {
    let (mut spawn, mut result) = (Some(spawn), None);
    let mut job = || {
        let spawn = spawn.take()?;
        let outcome = catch_unwind(AssertUnwindSafe(spawn));
        let child = outcome.as_ref().ok().and_then(&pid);
        result = Some(outcome);
        child
    };
    in_thread(&mut job)?;
    match result {
        Some(Ok(value)) => Ok(value),
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(Error::os(Step::DieWithParent, libc::EAGAIN)),
    }
}

/// Runs a job on a new thread; returns when the job is done.
fn in_thread(job: &mut Job<'_>) -> Result<(), Error> {
    let at: *mut Job<'_> = job;
    // SAFETY: only the lifetime of what the pointer points to is another; it
    // is used as long as this function runs.
    let at = unsafe { mem::transmute::<*mut Job<'_>, *mut Job<'static>>(at) };
    let job = Borrowed(at);
    let (caller, own) = (thread_id(), known());
    let (send, done) = channel::<(Known, bool)>();
    let body = move || {
        act_for(caller);
        set_known(own);
        // SAFETY: `in_thread` returns once this thread has reported that the
        // job is done, or has ended.
        let child = unsafe { job.run() };
        // From here on it only waits, and no handler of this program runs on
        // it.
        block_signals_of_thread();
        let _ = send.send((known(), child.is_some()));
        if let Some(pid) = child {
            wait(pid);
        }
    };
    let thread = Builder::new().name("offshoot-wait".into()).spawn(body);
    let thread = thread.map_err(|e| cannot_create(Step::DieWithParent, &e))?;
    // What the thread has found out about its filters holds here too.
    let has_child = match done.recv() {
        Ok((found, has_child)) => {
            set_known(found);
            has_child
        }
        Err(_) => false,
    };
    if !has_child {
        let _ = thread.join();
    }
    Ok(())
}

/// Waits until a child has ended, and leaves its status to the caller. If no
/// wait is possible, as a filter rejects it, this never returns.
fn wait(pid: Pid) {
    let target = Target::new(pid, None);
    match wait_for_end(target, Kind::Any) {
        Ok(_) | Err(Errno(libc::ECHILD)) => {}
        Err(_) => loop {
            thread::park();
        },
    }
}

/// The error of a step for which no thread can be created.
pub(super) fn cannot_create(step: Step, error: &io::Error) -> Error {
    let why = match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "no thread can be created after unshare(CLONE_NEWPID)"
        }
        _ => "the thread that the child needs cannot be created",
    };
    let errno = error.raw_os_error().unwrap_or(libc::EAGAIN);
    Error::explained(step, errno, why)
}
