//! `WaitSet`: many children, one wait.
//!
//! The pidfds are in an epoll instance, each armed for one event, so a wait
//! costs the same for any number of children, and an end wakes one thread.
//! Children that epoll cannot watch are looked at from time to time. A thread
//! is woken for other reasons by `wake`, a descriptor that is always readable
//! and armed on purpose.

use core::mem::{self, MaybeUninit};
use core::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::waitable::{PAUSES, deadline_after, timespec};
use super::{ExitStatus, Process};
use crate::parent::error::{Error, Step};
use crate::parent::std::collections::HashMap;
use crate::parent::std::fmt;
use crate::parent::std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use crate::parent::std::sync::{Mutex, MutexGuard, PoisonError};
use crate::parent::std::thread;
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;
use crate::sys::fork_detection::Owner;

/// Children that are waited for together, by any number of threads. Each has a
/// key of the caller's: a name, an index, a job.
///
/// The cost of a wait does not depend on how many children there are: the
/// kernel keeps a list of those that have ended ([`epoll(7)`]), and they are
/// returned in that order, each to one thread. Children can be inserted and
/// removed while other threads wait.
///
/// It holds a [`Process`] of each child, so the [`Child`](crate::Child) stays
/// with the caller. Dropping the set neither kills nor reaps.
///
/// It takes two descriptors.
///
/// # Forks
///
/// A fork of this process has a copy of the set, with its children, and shares
/// the epoll instance. There no method uses it: a wait returns an error for
/// each child of the parent, and looks at those that the fork inserts every
/// 10 ms. The parent's set stays as it is.
///
/// # Other event loops
///
/// Its descriptor ([`AsFd`]) is readable if a child has ended: then call
/// [`try_wait`](WaitSet::try_wait) until it returns `None`. It may be readable
/// although none has.
///
/// # Without a pidfd
///
/// Children without a pidfd ([`Child::pidfd`](crate::Child::pidfd)), and with
/// one that cannot be polled (Linux 5.2), are looked at every 10 ms by the
/// threads that wait. They do not make the descriptor readable.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, WaitSet};
///
/// let set = WaitSet::new()?;
/// for seconds in ["0.5", "0.01"] {
///     let mut sleep = Command::new("sleep").arg(seconds).spawn()?;
///     set.insert(seconds, &sleep.process());
/// }
/// let mut ended = Vec::new();
/// while let Some((seconds, status)) = set.wait() {
///     assert!(status?.success());
///     ended.push(seconds);
/// }
/// assert_eq!(ended, ["0.01", "0.5"]);
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`epoll(7)`]: https://man7.org/linux/man-pages/man7/epoll.7.html
pub struct WaitSet<K> {
    epoll: OwnedFd,
    wake: OwnedFd,
    /// The process that uses the epoll instance.
    owner: Owner,
    state: Mutex<State<K>>,
}

struct Entry<K> {
    key: K,
    process: Process,
    /// The process that has inserted it.
    owner: Owner,
}

impl<K> Entry<K> {
    /// Its status, if it has ended.
    fn try_wait(&self) -> Option<Result<ExitStatus, Error>> {
        if self.owner.is_another() {
            let why = "it is a child of the process that this one was forked \
                       from";
            return Some(Err(Error::refused(Step::Wait, why)));
        }
        self.process.try_wait().transpose()
    }
}

struct State<K> {
    /// By a number that is not used again, which is that of its events.
    entries: HashMap<u64, Entry<K>>,
    /// The numbers, by [`Process::address`].
    tokens: HashMap<usize, u64>,
    last_token: u64,
    /// Those that are looked at from time to time.
    by_time: Vec<u64>,
    /// Whether the last to be returned was one of those: it is epoll's turn.
    by_time_was_last: bool,
    /// The threads that wait.
    waiting: usize,
}

/// The number of `wake` among the events.
const WAKE: u64 = 0;

type Ended<K> = (K, Result<ExitStatus, Error>);

impl<K> WaitSet<K> {
    /// Creates an empty set.
    ///
    /// # Errors
    ///
    /// [`Step::Wait`] with EMFILE or ENFILE.
    pub fn new() -> Result<WaitSet<K>, Error> {
        let fail = |call: &'static str| {
            move |e: Errno| Error::os(Step::Wait, e.raw_os_error()).with(call)
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(fail("epoll_create"))?;
        let wake =
            eventfd(1, EventfdFlags::CLOEXEC).map_err(fail("eventfd"))?;
        let none = EventFlags::empty();
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), none)
            .map_err(fail("epoll_ctl"))?;
        let state = State {
            entries: HashMap::new(),
            tokens: HashMap::new(),
            last_token: WAKE,
            by_time: Vec::new(),
            by_time_was_last: false,
            waiting: 0,
        };
        let (owner, state) = (Owner::this(), Mutex::new(state));
        Ok(WaitSet { epoll, wake, owner, state })
    }

    /// Adds a child, which may have ended, and may have been waited for. If it
    /// is in the set, its key is replaced, and the old key returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, WaitSet};
    ///
    /// let set = WaitSet::new()?;
    /// let mut child = Command::new("true").spawn()?;
    /// assert_eq!(set.insert("a", &child.process()), None);
    /// assert_eq!(set.insert("b", &child.process()), Some("a"));
    /// assert_eq!(set.wait().unwrap().0, "b");
    /// assert!(child.wait()?.success()); // it has the status too
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn insert(&self, key: K, process: &Process) -> Option<K> {
        let mut state = self.lock();
        if let Some(token) = state.tokens.get(&process.address()).copied() {
            let entry = state.entries.get_mut(&token)?;
            return Some(mem::replace(&mut entry.key, key));
        }
        state.last_token += 1;
        let token = state.last_token;
        let data = EventData::new_u64(token);
        let once = EventFlags::IN | EventFlags::ONESHOT;
        let watched = self.epoll().zip(process.pidfd());
        let watched = watched.is_some_and(|(epoll, pidfd)| {
            // ENOSPC, for one: the user watches as many as are permitted.
            epoll::add(epoll, pidfd, data, once).is_ok()
        });
        if !watched {
            state.by_time.push(token);
            // A thread that waits without a limit looks from now on.
            self.wake_one(&state);
        }
        state.tokens.insert(process.address(), token);
        let (process, owner) = (process.clone(), Owner::this());
        state.entries.insert(token, Entry { key, process, owner });
        None
    }

    /// Removes a child, and returns its key; `None` if it is not in the set,
    /// or has been returned by a wait. Threads that wait for nothing else then
    /// return.
    pub fn remove(&self, process: &Process) -> Option<K> {
        let mut state = self.lock();
        let token = state.tokens.get(&process.address()).copied()?;
        let entry = self.take(&mut state, token);
        if state.entries.is_empty() {
            self.wake_one(&state);
        }
        Some(entry?.key)
    }

    /// Waits until a child has ended, removes it from the set, and returns its
    /// key and status. `None` if the set is empty, or becomes empty meanwhile.
    /// Signals do not interrupt it.
    ///
    /// Unlike [`Child::wait`](crate::Child::wait) it closes no input of a
    /// child.
    ///
    /// # Errors
    ///
    /// The status is [`Step::Wait`], if it is lost: see
    /// [`Child::wait`](crate::Child::wait).
    pub fn wait(&self) -> Option<(K, Result<ExitStatus, Error>)> {
        self.wait_until(None)
    }

    /// As [`WaitSet::wait`], for at most this long: `None` if no child has
    /// ended by then, and at once if the set is empty. It may take a
    /// millisecond more.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, WaitSet};
    /// use std::time::Duration;
    ///
    /// let set = WaitSet::new()?;
    /// let mut sleep = Command::new("sleep").arg("60").spawn()?;
    /// set.insert((), &sleep.process());
    /// assert!(set.wait_timeout(Duration::from_millis(5)).is_none());
    /// sleep.kill()?;
    /// assert!(set.wait_timeout(Duration::from_secs(60)).is_some());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait_timeout(
        &self,
        timeout: Duration,
    ) -> Option<(K, Result<ExitStatus, Error>)> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// As [`WaitSet::wait_timeout`], until a moment.
    pub fn wait_deadline(
        &self,
        deadline: Instant,
    ) -> Option<(K, Result<ExitStatus, Error>)> {
        self.wait_until(Some(deadline))
    }

    /// Returns a child that has ended, if there is one, without waiting.
    pub fn try_wait(&self) -> Option<(K, Result<ExitStatus, Error>)> {
        self.wait_until(Some(Instant::now()))
    }

    /// Returns the number of children in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Returns whether no child is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `None` in a fork, whose parent uses it.
    fn epoll(&self) -> Option<&OwnedFd> {
        (!self.owner.is_another()).then_some(&self.epoll)
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // No code panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<Ended<K>> {
        self.lock().waiting += 1;
        let ended = self.next_end(deadline);
        let mut state = self.lock();
        state.waiting -= 1;
        // What was to be told to any thread is told to the next.
        if state.entries.is_empty() || !state.by_time.is_empty() {
            self.wake_one(&state);
        }
        ended
    }

    fn next_end(&self, deadline: Option<Instant>) -> Option<Ended<K>> {
        let mut pauses = PAUSES.iter();
        loop {
            let mut state = self.lock();
            if state.entries.is_empty() {
                return None;
            }
            let skips = mem::take(&mut state.by_time_was_last);
            if !skips {
                let ended = self.look(&mut state);
                if ended.is_some() {
                    return ended;
                }
            }
            let pause = match state.by_time.is_empty() {
                _ if skips => Some(Duration::ZERO),
                true => None,
                false => pauses
                    .next()
                    .or(PAUSES.last())
                    .map(|ms| Duration::from_millis(*ms)),
            };
            mem::drop(state);
            let now = Instant::now();
            let left = deadline.map(|end| end.saturating_duration_since(now));
            // The shorter of two, where `None` is no limit.
            let time = left.into_iter().chain(pause).min();
            let event = self.next_event(time);
            match event {
                Ok(Some(token)) => {
                    let ended = self.end_of(&mut self.lock(), token);
                    if ended.is_some() {
                        return ended;
                    }
                }
                Ok(None) if left == Some(Duration::ZERO) && !skips => {
                    return None;
                }
                Ok(None) => {}
                Err(_) if self.looked_at_all(time) => {
                    if left == Some(Duration::ZERO) && !skips {
                        return None;
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for an event.
    fn next_event(
        &self,
        time: Option<Duration>,
    ) -> Result<Option<u64>, Errno> {
        let mut room = [MaybeUninit::uninit(); 1];
        let time = time.map(timespec);
        let Some(epoll) = self.epoll() else { return Err(Errno::PERM) };
        match epoll::wait(epoll, &mut room, time.as_ref()) {
            Ok((events, _)) => Ok(events.first().map(|e| e.data.u64())),
            Err(Errno::INTR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks at the children that epoll cannot watch.
    fn look(&self, state: &mut State<K>) -> Option<Ended<K>> {
        let ended = |token: &u64| {
            let status = state.entries.get(token)?.try_wait()?;
            Some((*token, status))
        };
        let (token, status) = state.by_time.iter().find_map(ended)?;
        state.by_time_was_last = true;
        Some((self.take(state, token)?.key, status))
    }

    /// Returns the end of the child that an event is of.
    fn end_of(&self, state: &mut State<K>, token: u64) -> Option<Ended<K>> {
        // `wake`, or another thread has removed it.
        match state.entries.get(&token)?.try_wait() {
            Some(status) => Some((self.take(state, token)?.key, status)),
            None => {
                // A debugger has not let it go, and its pidfd stays readable.
                state.by_time.push(token);
                None
            }
        }
    }

    /// Removes a child.
    fn take(&self, state: &mut State<K>, token: u64) -> Option<Entry<K>> {
        let entry = state.entries.remove(&token)?;
        state.tokens.remove(&entry.process.address());
        let watched = self.epoll().zip(entry.process.pidfd());
        if let Some((epoll, pidfd)) = watched {
            // ENOENT, if it could not be watched.
            let _ = epoll::delete(epoll, pidfd);
        }
        if !state.by_time.is_empty() {
            state.by_time.retain(|other| *other != token);
        }
        Some(entry)
    }

    /// Wakes a thread that waits, if there is one.
    fn wake_one(&self, state: &State<K>) {
        let epoll = self.epoll().filter(|_| state.waiting > 0);
        if let Some(epoll) = epoll {
            let once = EventFlags::IN | EventFlags::ONESHOT;
            let data = EventData::new_u64(WAKE);
            let _ = epoll::modify(epoll, &self.wake, data, once);
        }
    }

    /// In a fork, or where a filter rejects epoll_wait, every child is looked at. Returns
    /// whether they were before, and then pauses.
    fn looked_at_all(&self, time: Option<Duration>) -> bool {
        let mut state = self.lock();
        let all = state.by_time.len() >= state.entries.len();
        state.by_time = state.entries.keys().copied().collect();
        state.by_time.sort_unstable();
        mem::drop(state);
        if all {
            let pause = Duration::from_millis(10);
            thread::sleep(time.unwrap_or(pause).min(pause));
        }
        all
    }
}

impl<K> fmt::Debug for WaitSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSet")
            .field("fd", &self.epoll)
            .field("len", &self.len())
            .finish()
    }
}

impl<K> AsFd for WaitSet<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<K> AsRawFd for WaitSet<K> {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}
