//! Progress: a start that another thread makes, until it is done: how far it
//! is, whether it is still wanted, and what it has led to.
#![allow(
    unsafe_code,
    reason = "keeps addresses for as long as they are valid"
)]

use core::any::Any;
use core::fmt;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use rustix::io::write;

use crate::launch::watch::{Watcher, Words};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::handle::Child;
use crate::parent::std::boxed::Box;
use crate::parent::std::os::fd::OwnedFd;
use crate::parent::std::panic::resume_unwind;
use crate::parent::std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::parent::std::thread::Builder;
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;
use crate::sys::call::block_signals_of_thread;

/// What a start has led to.
pub(super) enum Started {
    Done(Result<Child, Error>),
    Panicked(Box<dyn Any + Send>),
}

impl Started {
    /// The child or the error, or its panic goes on.
    pub(super) fn value(self) -> Result<Child, Error> {
        match self {
            Started::Done(done) => done,
            Started::Panicked(panic) => resume_unwind(panic),
        }
    }
}

/// The steps of an attempt: the number of each one's first row, and the error
/// if the time is over there.
pub(super) type Steps = Vec<(u32, Error)>;

#[derive(Default)]
struct State {
    /// An attempt has begun, and may make a child.
    launches: bool,
    words: Option<Words>,
    steps: Steps,
    is_done: bool,
    /// A program that came too late could not be ended.
    is_left: bool,
    started: Option<Started>,
    waker: Option<Waker>,
    /// What it leads to is for nobody.
    is_abandoned: bool,
    /// An eventfd that becomes readable. It is closed before anybody gets the
    /// child.
    ready: Option<Arc<OwnedFd>>,
}

/// A start that goes on in another thread.
pub(super) struct Progress {
    state: Mutex<State>,
    done: Condvar,
    cancelled: AtomicBool,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_done = self.lock().is_done;
        let mut shown = f.debug_struct("Progress");
        shown.field("is_done", &is_done).finish_non_exhaustive()
    }
}

// SAFETY: the words are used with the lock held only, and setting others takes
// the lock.
unsafe impl Watcher for Progress {
    fn set(&self, words: Option<Words>) {
        self.lock().words = words;
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// How long a start that is no longer wanted is waited for: a child that was
/// killed ends in less, unless the kernel does not let it go.
const LONGEST_END: Duration = Duration::from_millis(200);

/// The pause between two looks at whether there is a child to kill.
const PAUSE: Duration = Duration::from_micros(100);
const LONG_PAUSE: Duration = Duration::from_millis(5);

impl Progress {
    pub(super) fn new(ready: Option<Arc<OwnedFd>>) -> Progress {
        let state = Mutex::new(State { ready, ..State::default() });
        let (done, cancelled) = (Condvar::new(), AtomicBool::new(false));
        Progress { state, done, cancelled }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called before each attempt: an error if it is no longer wanted.
    pub(super) fn begin(&self, steps: Steps) -> Result<(), Error> {
        let mut state = self.lock();
        if self.is_cancelled() {
            return Err(Error::new(Step::Clone, Cause::TimedOut));
        }
        state.launches = true;
        state.steps = steps;
        Ok(())
    }

    /// Called at the end, by the thread that starts. The program of a start
    /// that is no longer wanted is killed.
    pub(super) fn finish(&self, started: Started) {
        let mut is_left = false;
        let started = match started {
            Started::Done(Ok(child)) if self.is_cancelled() => {
                let until = Instant::now() + LONGEST_END;
                let (is_over, error) = self.end(child, until);
                is_left = !is_over;
                Started::Done(Err(error))
            }
            Started::Done(Err(error)) if self.is_cancelled() => {
                Started::Done(Err(error.timed_out_if_killed()))
            }
            started => started,
        };
        let mut state = self.lock();
        let started = Some(started);
        let left = match state.is_abandoned {
            true => started,
            false => mem::replace(&mut state.started, started),
        };
        (state.is_done, state.is_left) = (true, is_left);
        if let Some(ready) = state.ready.take() {
            let _ = write(&ready, &1u64.to_ne_bytes());
        }
        let waker = state.waker.take();
        mem::drop(state);
        leave(left);
        self.done.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Kills a program that was started too late, and reaps it, until a moment
    /// or later. Returns whether that is done, and the error.
    fn end(&self, mut child: Child, until: Instant) -> (bool, Error) {
        let _ = child.kill_on_drop(true).kill();
        let is_over = matches!(child.wait_deadline(until), Ok(Some(_)));
        let last = self.lock().steps.pop();
        (is_over, last.map_or_else(late, |(_, error)| error))
    }

    /// What it has led to; `None` if it is not done.
    pub(super) fn take(&self) -> Option<Started> {
        self.lock().started.take()
    }

    /// Waits until it is done, or a moment; `None`: it is not done by then.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Option<Started> {
        let mut state = self.lock();
        while !state.is_done {
            let woken = match deadline {
                None => self.done.wait(state),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now());
                    let left = left.filter(|left| !left.is_zero())?;
                    let woken = self.done.wait_timeout(state, left);
                    woken.map(|(state, _)| state).map_err(|poison| {
                        PoisonError::new(poison.into_inner().0)
                    })
                }
            };
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.started.take()
    }

    /// As `wait`, for a task.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<Option<Started>> {
        let mut state = self.lock();
        if !state.is_done {
            let own = context.waker();
            if !state.waker.as_ref().is_some_and(|old| old.will_wake(own)) {
                state.waker = Some(own.clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(state.started.take())
    }

    /// Kills the child, once: false if there may be one later.
    fn kill(&self) -> bool {
        let state = self.lock();
        state.is_done
            || match &state.words {
                // It ends by itself, or its launch kills it, if this may not.
                Some(words) => words.kill() != Ok(false),
                None => !state.launches,
            }
    }

    /// Kills the child before exec. Does not wait for the end, but until a
    /// moment for the kernel to make a child that is about to be made; then
    /// another thread does. Returns a program that runs by now.
    pub(super) fn cancel(self: &Arc<Self>, until: Instant) -> Option<Child> {
        self.cancelled.store(true, Ordering::Release);
        while !self.kill() {
            if Instant::now() >= until {
                let own = Arc::clone(self);
                let name = "offshoot-cancel".into();
                let kill = move || own.kill_later();
                let _ = Builder::new().name(name).spawn(kill);
                break;
            }
            mem::drop(self.done.wait_timeout(self.lock(), PAUSE));
        }
        let mut state = self.lock();
        match state.started.take() {
            // It was done before `finish` could see that.
            Some(Started::Done(Ok(child))) => Some(child),
            other => {
                state.started = other;
                None
            }
        }
    }

    /// Kills a child that is made late.
    fn kill_later(&self) {
        block_signals_of_thread();
        while !self.kill() {
            mem::drop(self.done.wait_timeout(self.lock(), LONG_PAUSE));
        }
    }

    /// As `cancel`, and waits a limited time until it is over; returns whether
    /// it is.
    pub(super) fn end_in_time(self: &Arc<Self>) -> bool {
        let until = Instant::now() + LONGEST_END;
        if let Some(child) = self.cancel(until) {
            return self.end(child, until).0;
        }
        match self.wait(Some(until)) {
            Some(Started::Done(Ok(child))) => self.end(child, until).0,
            _ => {
                let state = self.lock();
                state.is_done && !state.is_left
            }
        }
    }

    /// As `end_in_time`; returns the error of the step that it was in.
    pub(super) fn time_out(self: &Arc<Self>) -> Result<Child, Error> {
        let until = Instant::now() + LONGEST_END;
        // Before it is killed: the step in which it hangs.
        let hangs = self.step_reached();
        if let Some(child) = self.cancel(until) {
            return Err(self.end(child, until).1);
        }
        match self.wait(Some(until)) {
            Some(Started::Done(Ok(child))) => Err(self.end(child, until).1),
            // There was no other attempt after the child was killed.
            Some(Started::Done(Err(error))) if error.step() == Step::Clone => {
                Err(hangs.unwrap_or(error))
            }
            Some(started) => started.value(),
            None => Err(hangs.unwrap_or_else(late)),
        }
    }

    /// Nobody waits for it any more: the program goes on, and is reaped by a
    /// later spawn.
    #[cfg(feature = "tokio")]
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        let started = state.started.take();
        mem::drop(state);
        leave(started);
    }

    /// The error of the step that the child has reached.
    fn step_reached(&self) -> Option<Error> {
        let mut state = self.lock();
        let reached = state.words.as_ref()?.reached();
        let after = state.steps.partition_point(|(row, _)| *row <= reached);
        let (_, error) = state.steps.get_mut(after.checked_sub(1)?)?;
        Some(mem::replace(error, late()))
    }
}

/// Drops what it has led to.
fn leave(started: Option<Started>) {
    if let Some(Started::Done(Ok(mut child))) = started {
        child.reap_on_drop(true);
    }
}

/// It is over before there is a child.
fn late() -> Error {
    Error::new(Step::Clone, Cause::TimedOut)
}
