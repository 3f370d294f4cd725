//! `Waitable`: a process to wait for, from any number of threads. Each gets
//! the status, one of them reaps.
//!
//! A wait that blocks does not reap; whichever thread then has the lock does.
//! So as long as no thread has reaped it under the lock, its process id is the
//! child's, and signals may be sent by it. A wait by the process id does not
//! have the lock: as long as a thread is in one, no other reaps.

use core::mem;
use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pidfd::PidFd;
use super::signal_number::check_signal;
use super::usage::Rusage;
use crate::parent::command::OpenCgroup;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::boxed::Box;
use crate::parent::std::os::fd::{AsFd, AsRawFd};
use crate::parent::std::os::unix::process::ExitStatusExt;
use crate::parent::std::process::ExitStatus;
use crate::parent::std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use crate::parent::std::thread::sleep;
use crate::parent::std::time::Instant;
use crate::sys::kill::{kill, kill_group};
use crate::sys::pidfd::{
    is_readable, status_of_unseen, try_signal, try_signal_group,
};
use crate::sys::wait::{
    Kind, Target, is_unreaped, peek, wait_for_end, wait_for_end_by_pidfd,
    wait_usage,
};
use crate::sys::{Errno, Pid, abi};

/// How a child has ended. There is no usage if other code or the kernel has
/// reaped it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) status: i32,
    pub(crate) usage: Option<Rusage>,
}

impl End {
    pub(super) fn exit_status(self) -> ExitStatus {
        ExitStatus::from_raw(self.status)
    }
}

/// A moment after now; a century later is as good as never.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(timeout.min(LONGEST)).unwrap_or(now)
}

/// A time for poll, of a day at most: callers look at their deadline again.
pub(super) fn timespec(time: Duration) -> Timespec {
    let time = time.min(Duration::from_secs(86_400));
    let sec = i64::try_from(time.as_secs()).unwrap_or_default();
    Timespec { tv_sec: sec, tv_nsec: time.subsec_nanos().into() }
}

/// How long one that was killed is waited for where the caller is not to wait
/// without limit: a tracer, a frozen control group or a device may hold it.
const KILLED_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    end: Option<End>,
    /// A thread waits by the process id, and will reap.
    waits_by_id: bool,
}

/// A process to wait for.
#[derive(Debug)]
pub(crate) struct Waitable {
    pub(crate) pid: Pid,
    pub(crate) pidfd: Option<PidFd>,
    /// The group that was made for it.
    pub(super) group: Option<Box<OpenCgroup>>,
    /// Whether the kernel reaps it; then it has a pidfd.
    pub(super) autoreaped: bool,
    state: Mutex<State>,
    reaped: Condvar,
}

/// How long a wait without a pidfd pauses between two looks, in milliseconds.
pub(super) const PAUSES: [u64; 6] = [0, 1, 1, 2, 5, 10];

impl Waitable {
    pub(crate) fn new(
        pid: Pid,
        pidfd: Option<PidFd>,
        group: Option<Box<OpenCgroup>>,
    ) -> Waitable {
        let (state, reaped) = (Mutex::default(), Condvar::new());
        let autoreaped = false;
        Waitable { pid, pidfd, group, autoreaped, state, reaped }
    }

    /// A child that the kernel reaps, if `autoreaped`; then it has a pidfd.
    pub(crate) fn autoreaped(self, autoreaped: bool) -> Waitable {
        Waitable { autoreaped, ..self }
    }

    /// Moves it out; what stays is not used any more.
    pub(crate) fn take(&mut self) -> Waitable {
        let (pidfd, group) = (self.pidfd.take(), self.group.take());
        let taken = Waitable::new(self.pid, pidfd, group);
        let taken = taken.autoreaped(self.autoreaped);
        let state = mem::take(
            self.state.get_mut().unwrap_or_else(PoisonError::into_inner),
        );
        *taken.lock() = state;
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn target(&self) -> Target {
        let pidfd = self.pidfd.as_ref().map(AsRawFd::as_raw_fd);
        Target { autoreaped: self.autoreaped, ..Target::new(self.pid, pidfd) }
    }

    /// Waits with one system call; no other thread has it.
    pub(crate) fn wait_alone(&mut self) -> Result<End, Error> {
        let target = self.target();
        let mut state = self.lock();
        let end = match state.end {
            Some(end) => return Ok(end),
            None => reap(target, true)?.ok_or_else(lost)?,
        };
        state.end = Some(end);
        mem::drop(state);
        self.remove_group();
        Ok(end)
    }

    /// Waits, beside other threads.
    pub(crate) fn wait(&self) -> Result<End, Error> {
        loop {
            if let Some(end) = self.try_wait()? {
                return Ok(end);
            }
            if !self.wait_by_pidfd() {
                self.wait_by_id();
            }
        }
    }

    /// Waits for the end by the pidfd; false if the kernel cannot (before Linux
    /// 5.4), or a filter rejects it.
    fn wait_by_pidfd(&self) -> bool {
        if self.autoreaped {
            let waited = wait_for_end(self.target(), Kind::Any);
            pause_if_rejected(waited.map(drop));
            return true;
        }
        let pidfd = self.pidfd.as_ref().map(AsRawFd::as_raw_fd);
        let waited = pidfd.and_then(wait_for_end_by_pidfd);
        waited.map(pause_if_rejected).is_some()
    }

    /// Waits by the process id, which is the child's until it is reaped: one
    /// thread waits, and the others for that one.
    fn wait_by_id(&self) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        if state.waits_by_id {
            let woken = self.reaped.wait(state);
            mem::drop(woken.unwrap_or_else(PoisonError::into_inner));
            return;
        }
        state.waits_by_id = true;
        mem::drop(state);
        let waited = wait_for_end(self.target(), Kind::Any);
        pause_if_rejected(waited.map(drop));
        let mut state = self.lock();
        state.waits_by_id = false;
        if let Ok(Some(end)) = reap(self.target(), false) {
            state.end = Some(end);
        }
        mem::drop(state);
        self.remove_group();
        self.reaped.notify_all();
    }

    /// Reaps it if it has ended.
    pub(crate) fn try_wait(&self) -> Result<Option<End>, Error> {
        let mut state = self.lock();
        // The thread that waits by id reaps.
        if state.end.is_none() && !state.waits_by_id {
            state.end = reap(self.target(), false)?;
            if state.end.is_some() {
                let end = state.end;
                mem::drop(state);
                self.remove_group();
                return Ok(end);
            }
        }
        Ok(state.end)
    }

    /// Now that the child has been reaped. While descendants are in it, it
    /// stays.
    fn remove_group(&self) {
        if let Some(group) = &self.group {
            group.remove();
        }
    }

    /// Waits until a moment; `None`: it has not ended by then.
    pub(crate) fn wait_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Option<End>, Error> {
        let (mut polls, mut pauses) = (self.pidfd.is_some(), PAUSES.iter());
        loop {
            if let Some(end) = self.try_wait()? {
                return Ok(Some(end));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if polls {
                polls = self.poll(left);
                continue;
            }
            let pause = pauses.next().or(PAUSES.last()).copied();
            let pause = Duration::from_millis(pause.unwrap_or_default());
            sleep(left.min(pause));
        }
    }

    /// Waits for one that was killed; `None`: something holds it.
    pub(super) fn wait_after_kill(&self) -> Result<Option<End>, Error> {
        match self.wait_deadline(deadline_after(KILLED_LIMIT))? {
            // A thread that waits by its number is about to reap it.
            None if self.has_ended() => self.wait().map(Some),
            end => Ok(end),
        }
    }

    /// Until the child has ended or the time is over. False if it is of no use
    /// to poll again: it has ended, and if it cannot be reaped, that is as the
    /// process that traces it has not let it go; or the call is rejected.
    fn poll(&self, left: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return false };
        // The status of one that the kernel reaps comes with the hang-up.
        let events = match self.autoreaped {
            true => PollFlags::empty(),
            false => PollFlags::IN,
        };
        let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), events)];
        let polled = poll(&mut fds, Some(&timespec(left)));
        matches!(polled, Ok(0) | Err(rustix::io::Errno::INTR))
    }

    /// Whether it has ended, or was reaped. It is not reaped here.
    pub(super) fn has_ended(&self) -> bool {
        let state = self.lock();
        state.end.is_some()
            || !matches!(peek(self.target(), Kind::Any), Ok(None))
    }

    /// Pauses until it has ended, and no longer than this; for a while only.
    pub(super) fn pause(&self, left: Duration) {
        if self.pidfd.is_none() || !self.poll(left) {
            sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// How it has ended, if that is known.
    pub(super) fn known_end(&self) -> Option<End> {
        self.lock().end
    }

    /// Sends a signal, if it has not ended.
    pub(crate) fn signal(&self, number: i32) -> Result<(), Error> {
        check_signal(number)?;
        let by_pidfd = self.pidfd.as_ref();
        let sent =
            by_pidfd.and_then(|pidfd| try_signal(pidfd.as_raw_fd(), number));
        unless_ended(sent.unwrap_or_else(|| {
            // It is not reaped meanwhile.
            let state = self.lock();
            self.check_number(&state)?;
            kill(self.pid, number)
        }))
    }

    /// Sends a signal to the group that the child leads.
    pub(crate) fn signal_group(&self, number: i32) -> Result<(), Error> {
        check_signal(number)?;
        let by_pidfd = self.pidfd.as_ref();
        let by_pidfd = by_pidfd
            .and_then(|pidfd| try_signal_group(pidfd.as_raw_fd(), number));
        let sent = by_pidfd.map_or_else(
            || {
                // Before Linux 6.9 by its number, which stays the group's as
                // long as the leader has not been reaped.
                let state = self.lock();
                match self.check_number(&state) {
                    Ok(()) => Ok(kill_group(self.pid, number)),
                    Err(Errno(libc::ESRCH)) => {
                        Err(Error::explained(Step::Kill, libc::ESRCH, REAPED))
                    }
                    Err(Errno(errno)) => Err(Error::os(Step::Kill, errno)),
                }
            },
            Ok,
        )?;
        // An ended leader is in its group until it is reaped.
        if sent == Err(Errno(libc::ESRCH)) && self.is_unreaped() {
            return Err(Error::explained(Step::Kill, libc::ESRCH, LEFT));
        }
        unless_ended(sent)
    }

    /// Whether the process id is the child's, as long as the lock is held: ESRCH
    /// if it was reaped. One that the kernel reaps can lose it at any time, and
    /// is signalled by its pidfd only.
    fn check_number(&self, state: &State) -> Result<(), Errno> {
        if self.autoreaped {
            return Err(Errno(libc::EPERM));
        }
        let held = state.end.is_none() && is_unreaped(self.target());
        held.then_some(()).ok_or(Errno(libc::ESRCH))
    }

    fn is_unreaped(&self) -> bool {
        let state = self.lock();
        state.end.is_none() && is_unreaped(self.target())
    }
}

const REAPED: &str = "the leader has been waited for, so the number may be \
                      another group's by now";
const LEFT: &str = "the child has left the process group that it led, and no \
                    process is in that";

/// What has ended needs no signal any more.
fn unless_ended(sent: Result<(), Errno>) -> Result<(), Error> {
    match sent {
        Ok(()) | Err(Errno(libc::ESRCH)) => Ok(()),
        Err(Errno(errno)) => Err(Error::os(Step::Kill, errno)),
    }
}

/// Where a filter rejects a wait, it only pauses. ECHILD: it was reaped.
fn pause_if_rejected(waited: Result<(), Errno>) {
    if !matches!(waited, Ok(()) | Err(Errno(libc::ECHILD))) {
        sleep(Duration::from_millis(10));
    }
}

/// A process that waits for a device or a file server ends only after that.
pub(super) fn late() -> Error {
    let why = "a process that was killed has not ended";
    Error::explained(Step::Kill, libc::ETIMEDOUT, why)
}

pub(super) fn lost() -> Error {
    Error::new(Step::Wait, Cause::StatusLost)
}

/// Why no wait sees a process of which there is no status.
fn unseen(target: Target) -> Error {
    const WHY: &str = "it is a child of the process that this one was forked \
                       from";
    match target.pidfd {
        Some(pidfd) if !is_readable(pidfd) => {
            Error::explained(Step::Wait, libc::ECHILD, WHY)
        }
        _ => lost(),
    }
}

/// Reaps a child. What another thread has reaped, the pidfd knows since Linux
/// 6.15.
fn reap(target: Target, block: bool) -> Result<Option<End>, Error> {
    let mut used = abi::Rusage::zeroed();
    match wait_usage(target, block, &mut used) {
        Ok(None) => Ok(None),
        Ok(Some(ended)) => {
            let usage = (!target.autoreaped).then(|| Rusage::new(&used));
            Ok(Some(End { status: ended.wait_status(), usage }))
        }
        Err(Errno(libc::ECHILD)) => {
            let status = target.pidfd.and_then(status_of_unseen);
            let status = status.ok_or_else(|| unseen(target))?;
            Ok(Some(End { status, usage: None }))
        }
        Err(Errno(errno)) => Err(Error::os(Step::Wait, errno)),
    }
}
