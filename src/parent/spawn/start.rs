//! Start: a program that another thread starts, so that the caller is not
//! suspended.
//!
//! A new thread has from its creator whatever a child inherits, as
//! `waiting_thread` says. All engines launch from it as from the caller. It
//! ends when the program runs.

use rustix::event::{EventfdFlags, eventfd};

use super::changes::Budget;
use super::compiled_plan::CompiledPlan;
use super::prepared::Prepared;
use super::progress::{Progress, Started, Steps};
use super::starting::Starting;
#[cfg(feature = "tokio")]
use super::stdio_pipes::piped;
use super::waiting_thread::cannot_create;
use crate::launch::watch::Watch;
use crate::parent::command::{Command, ParentDeath, StdioSource};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::fd_table::{act_for, thread_id};
use crate::parent::handle::{Child, deadline_after};
use crate::parent::plan::Plan;
use crate::parent::std::{
    boxed::Box,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::Builder,
    time::Instant,
    vec::Vec,
};
use crate::parent::support::{known, set_known};
use crate::sys::call::{block_signals_of_thread, signal_mask};
use core::time::Duration;

/// A spawn that another thread watches.
#[derive(Clone, Copy)]
pub(super) struct Watched<'a> {
    progress: &'a Progress,
    /// The signal mask of that thread.
    pub(super) mask: u64,
}

impl<'a> Watched<'a> {
    /// Called before each attempt: an error if it is no longer wanted.
    #[inline(never)]
    pub(super) fn begin(
        self,
        prepared: &Prepared,
        compiled: &CompiledPlan,
    ) -> Result<Watch<'a>, Error> {
        self.progress.begin(prepared.steps_of(compiled))?;
        Ok(Watch { watcher: self.progress, mask: self.mask })
    }
}

impl Prepared {
    /// The number of each step's first row, and its error once the time is
    /// over.
    fn steps_of(&self, compiled: &CompiledPlan) -> Steps {
        let mut steps: Steps = Vec::new();
        let mut last = None;
        for row in &compiled.rows {
            let is_first = last.replace(row.step) != Some(row.step);
            let number = u32::from(row.row);
            let step = compiled.step(&self.plan, number);
            if let Some(record) = step.filter(|_| is_first) {
                let error = Error::new(record.step, Cause::TimedOut);
                steps.push((number, self.operand(record, error)));
            }
        }
        steps
    }
}

/// What a thread starts.
enum Source {
    Once(Box<Plan>),
    Prepared(Arc<Prepared>),
}

impl Source {
    fn plan(&self) -> &Plan {
        match self {
            Source::Once(plan) => plan,
            Source::Prepared(prepared) => &prepared.plan,
        }
    }

    fn spawn(self, watched: Watched<'_>) -> Result<Child, Error> {
        match self {
            Source::Once(plan) => Prepared::spawn_once(plan, Some(watched)),
            Source::Prepared(prepared) => {
                prepared.spawn_watched(Some(watched))
            }
        }
    }

    /// Refuses what is a matter of the thread that creates the child.
    fn check(&self) -> Result<(), Error> {
        const ENDS: &str = "the thread that starts the child ends before it: \
                            use die_with_parent";
        const TRACES: &str = "the thread that starts the child, which would \
                              trace it, ends before it";
        let plan = self.plan();
        if plan.parent_death == Some(ParentDeath::Thread) {
            return Err(Error::refused(Step::ParentDeathSignal, ENDS));
        }
        if plan.traced {
            return Err(Error::refused(Step::PtraceTraceme, TRACES));
        }
        Ok(())
    }

    /// Starts it in a new thread. `retry_again` applies to that too.
    fn start(self, progress: &Arc<Progress>) -> Result<(), Error> {
        self.check()?;
        let retry_again = self.plan().retry_again;
        let mut budget = Budget::default();
        // What a thread that is not created drops is not this.
        let source = Arc::new(Mutex::new(Some(self)));
        loop {
            let error = match in_thread(&source, progress) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let again = error.raw_os_error() == Some(libc::EAGAIN);
            if !again || budget.wait_for_process(retry_again).is_none() {
                return Err(cannot_create(Step::Clone, &error));
            }
        }
    }

    fn starting(self) -> Result<Starting, Error> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC);
        let ready =
            ready.map_err(|e| Error::os(Step::Clone, e.raw_os_error()));
        let ready = Arc::new(ready?);
        let progress = Arc::new(Progress::new(Some(Arc::clone(&ready))));
        self.start(&progress)?;
        Ok(Starting::new(progress, ready))
    }

    fn spawn_deadline(self, timeout: Duration) -> Result<Child, Error> {
        if timeout.is_zero() {
            return Err(Error::new(Step::Clone, Cause::TimedOut));
        }
        let deadline = deadline_after(timeout);
        let progress = Arc::new(Progress::new(None));
        self.start(&progress)?;
        finish(&progress, deadline)
    }
}

/// Spawns a source in a new thread.
fn in_thread(
    source: &Arc<Mutex<Option<Source>>>,
    progress: &Arc<Progress>,
) -> io::Result<()> {
    let (caller, own, mask) = (thread_id(), known(), signal_mask());
    let (source, progress) = (Arc::clone(source), Arc::clone(progress));
    let body = move || {
        // No handler of this program runs on it.
        block_signals_of_thread();
        act_for(caller);
        set_known(own);
        let source = source.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(source) = { source }.take() else { return };
        let watched = Watched { progress: &progress, mask };
        let spawn = AssertUnwindSafe(|| source.spawn(watched));
        progress.finish(match catch_unwind(spawn) {
            Ok(done) => Started::Done(done),
            Err(panic) => Started::Panicked(panic),
        });
    };
    Builder::new().name("offshoot-start".into()).spawn(body).map(drop)
}

/// Waits for a start, and ends it if it is late.
fn finish(
    progress: &Arc<Progress>,
    deadline: Instant,
) -> Result<Child, Error> {
    match progress.wait(Some(deadline)) {
        Some(started) => started.value(),
        None => progress.time_out(),
    }
}

fn inherit(_: usize) -> StdioSource {
    StdioSource::Inherit
}

impl Command {
    fn source(
        &self,
        default: impl Fn(usize) -> StdioSource,
    ) -> Result<Source, Error> {
        self.compile(default, false).map(Source::Once)
    }

    /// Starts the program by a deadline, if there is one. It is the child of the
    /// calling thread where it must be, or where no other can be created: then
    /// the deadline has no effect yet.
    pub(super) fn spawn_by(
        &self,
        default: impl Fn(usize) -> StdioSource + Copy,
        deadline: Option<Instant>,
    ) -> Result<Child, Error> {
        let Some(deadline) = deadline else { return self.spawn_with(default) };
        let progress = Arc::new(Progress::new(None));
        match self.source(default)?.start(&progress) {
            Ok(()) => finish(&progress, deadline),
            Err(_) => self.spawn_with(default),
        }
    }

    /// As `start`, with the defaults of `output`.
    #[cfg(feature = "tokio")]
    pub(crate) fn start_for_output(&self) -> Result<Starting, Error> {
        self.source(piped)?.starting()
    }

    /// Begins to start the program and returns at once: a new thread starts
    /// it, with any engine, as the caller would. [`Starting`] waits for the
    /// child, cancels the start, and has a descriptor that becomes readable.
    ///
    /// The caller creates the plan and the thread, which takes a fraction of a
    /// spawn's time; the rest goes on beside it. The program gets the caller's
    /// signal mask. Functions of [`Command::before_exec`] run in the new
    /// thread. It creates one thread each time, which takes a process id more
    /// for as long, and may end a moment after [`Starting::wait`] returns;
    /// [`spawn_all`] creates one for each processor. While there is no process
    /// id for it, [`Command::retry_again`] has the caller wait.
    ///
    /// # Errors
    ///
    /// As [`Command::plan`]; [`Step::Clone`] if no thread can be created
    /// (EAGAIN; EINVAL after `unshare(CLONE_NEWPID)`) or no descriptor is free
    /// (EMFILE). [`Step::ParentDeathSignal`] and [`Step::PtraceTraceme`]:
    /// these options are a matter of the thread that creates the child, which
    /// ends at once; [`Command::die_with_parent`] is not. All others are those
    /// of [`Starting::wait`]; a child without a pidfd is one of them.
    ///
    /// # Examples
    ///
    /// ```
    /// let starting = offshoot::Command::new("true").start()?;
    /// println!("the program starts meanwhile");
    /// let mut child = starting.wait()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`spawn_all`]: crate::spawn_all
    pub fn start(&mut self) -> Result<Starting, Error> {
        self.source(inherit)?.starting()
    }

    /// As [`Command::spawn`], but if the program does not run within this time
    /// the child is killed and reaped, and the error names the step that it
    /// was in.
    ///
    /// A child can hang before its exec: the program, or a directory, is on a
    /// file system that does not answer (NFS, FUSE), opening a FIFO waits for
    /// its other end, a process has stopped the child, its control group is
    /// frozen, a hook waits for a lock that a thread of this process held when
    /// it was copied.
    ///
    /// A new thread starts the program, as with [`Command::start`]. After the
    /// deadline it waits for about 0.2 s at most until the child has ended. If the
    /// kernel does not let go of the child by then, as a FUSE server has taken
    /// its request and does not answer, if this user may not kill it, as it has
    /// another user by then, or a function of [`Command::before_exec`] does not
    /// return, the call returns all the same; the thread waits on, and reaps
    /// the child. A process that a hook has forked is not killed.
    ///
    /// # Errors
    ///
    /// With the kind [`TimedOut`], the step that the child was in;
    /// [`Step::Clone`] if there was none. Otherwise as [`Command::spawn`] and
    /// [`Command::start`].
    ///
    /// [`TimedOut`]: https://doc.rust-lang.org/std/io/enum.ErrorKind.html
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut date = offshoot::Command::new("date");
    /// let mut child = date.spawn_deadline(Duration::from_secs(10))?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn spawn_deadline(
        &mut self,
        timeout: Duration,
    ) -> Result<Child, Error> {
        self.source(inherit)?.spawn_deadline(timeout)
    }
}

impl Prepared {
    /// As [`Command::start`].
    ///
    /// # Errors
    ///
    /// As [`Command::start`] and [`Prepared::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// let prepared = Arc::new(offshoot::Command::new("true").prepare()?);
    /// let (one, two) = (prepared.start()?, prepared.start()?);
    /// assert!(one.wait()?.wait()?.success() && two.wait()?.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn start(self: &Arc<Self>) -> Result<Starting, Error> {
        Source::Prepared(Arc::clone(self)).starting()
    }

    /// As [`Command::spawn_deadline`].
    ///
    /// # Errors
    ///
    /// As [`Command::spawn_deadline`] and [`Prepared::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let prepared = Arc::new(offshoot::Command::new("true").prepare()?);
    /// let mut child = prepared.spawn_deadline(Duration::from_secs(10))?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn spawn_deadline(
        self: &Arc<Self>,
        timeout: Duration,
    ) -> Result<Child, Error> {
        Source::Prepared(Arc::clone(self)).spawn_deadline(timeout)
    }
}
