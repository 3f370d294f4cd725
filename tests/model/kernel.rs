//! Kernel: the processes and descriptors of the model, and its time.
//!
//! As soon as a child is reaped, its process id is that of another child of
//! this process, of other code, which runs forever.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread::{self, ThreadId};

use crate::resources::OwnedFd;
use crate::sys::Pid;
use crate::sys::wait::Ended;

/// What a kernel has.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) name: &'static str,
    /// clone makes a pidfd.
    pidfds: bool,
    /// poll and epoll take one.
    polls: bool,
    /// waitid does.
    pub(crate) waits: bool,
    /// A signal by it can be one to the group.
    pub(crate) groups: bool,
    /// It has the status after the reap.
    pub(crate) keeps_status: bool,
}

pub(crate) const LINUX_5_1: Version = Version {
    name: "Linux 5.1",
    pidfds: false,
    polls: false,
    waits: false,
    groups: false,
    keeps_status: false,
};
pub(crate) const LINUX_5_2: Version =
    Version { name: "Linux 5.2", pidfds: true, ..LINUX_5_1 };
pub(crate) const LINUX_5_3: Version =
    Version { name: "Linux 5.3", polls: true, ..LINUX_5_2 };
pub(crate) const LINUX_5_4: Version =
    Version { name: "Linux 5.4", waits: true, ..LINUX_5_3 };
pub(crate) const LINUX_6_15: Version = Version {
    name: "Linux 6.15",
    groups: true,
    keeps_status: true,
    ..LINUX_5_4
};
pub(crate) const LINUX: [Version; 5] =
    [LINUX_5_1, LINUX_5_2, LINUX_5_3, LINUX_5_4, LINUX_6_15];

pub(crate) struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

pub(crate) struct State {
    pub(crate) version: Version,
    pub(crate) now: Duration,
    pub(crate) processes: Vec<Process>,
    fds: BTreeMap<RawFd, Fd>,
    last_fd: RawFd,
    changes: u32,
    pauses: HashMap<ThreadId, Pauses>,
}

pub(crate) struct Process {
    pid: i32,
    pub(crate) end: Option<Ended>,
    pub(crate) reaped: bool,
    /// The child of other code that got the process id.
    pub(crate) other: bool,
}

pub(crate) enum Fd {
    Pidfd(usize),
    Epoll(Vec<Watch>),
    Readable,
}

pub(crate) struct Watch {
    pub(crate) fd: RawFd,
    pub(crate) data: u64,
    pub(crate) armed: bool,
}

thread_local! {
    static KERNEL: RefCell<Option<Arc<Kernel>>> = const { RefCell::new(None) };
}

/// loom runs all threads of a model in one thread.
pub(crate) fn kernel() -> Arc<Kernel> {
    KERNEL.with_borrow(|kernel| kernel.clone().unwrap())
}

pub(crate) fn boot(version: Version) {
    let state = State {
        version,
        now: Duration::from_secs(1),
        processes: Vec::new(),
        fds: BTreeMap::new(),
        last_fd: 2,
        changes: 0,
        pauses: HashMap::new(),
    };
    let (state, changed) = (Mutex::new(state), Condvar::new());
    KERNEL.set(Some(Arc::new(Kernel { state, changed })));
}

impl State {
    /// The process that has a number now.
    pub(crate) fn by_pid(&self, pid: i32) -> Option<usize> {
        self.processes.iter().position(|p| p.pid == pid && !p.reaped)
    }

    pub(crate) fn by_pidfd(&self, fd: RawFd) -> Option<usize> {
        match self.fds.get(&fd) {
            Some(Fd::Pidfd(process)) => Some(*process),
            _ => None,
        }
    }

    /// Those that an epoll instance watches.
    pub(crate) fn watches(&mut self, epoll: RawFd) -> &mut Vec<Watch> {
        self.changes += 1;
        match self.fds.get_mut(&epoll) {
            Some(Fd::Epoll(watches)) => watches,
            _ => panic!("descriptor {epoll} is no epoll instance"),
        }
    }

    pub(crate) fn can_be_watched(&self, fd: RawFd) -> bool {
        self.version.polls || self.by_pidfd(fd).is_none()
    }

    pub(crate) fn is_readable(&self, fd: RawFd) -> bool {
        match self.fds.get(&fd).expect("poll: EBADF") {
            // What cannot be polled is always ready.
            Fd::Pidfd(at) => {
                !self.version.polls || self.processes[*at].end.is_some()
            }
            Fd::Epoll(_) => panic!("the model polls no epoll instance"),
            Fd::Readable => true,
        }
    }

    /// Takes an event of an epoll instance.
    pub(crate) fn next_event(&mut self, epoll: RawFd) -> Option<u64> {
        let due = |watch: &Watch| watch.armed && self.is_readable(watch.fd);
        let Some(Fd::Epoll(watches)) = self.fds.get(&epoll) else {
            panic!("epoll_wait: EBADF");
        };
        let due = watches.iter().position(due)?;
        let watch = &mut self.watches(epoll)[due];
        watch.armed = false;
        Some(watch.data)
    }

    /// Closes a descriptor. What watches it forgets it, and its number is not
    /// used again.
    pub(crate) fn close(&mut self, fd: RawFd) {
        self.fds.remove(&fd).expect("close: EBADF");
        for other in self.fds.values_mut() {
            if let Fd::Epoll(watches) = other {
                watches.retain(|watch| watch.fd != fd);
            }
        }
    }

    /// Ends a process, if it runs.
    fn end(&mut self, at: usize, code: i32, status: i32) {
        if self.processes[at].end.is_none() {
            self.processes[at].end = Some(Ended { code, status });
            self.changes += 1;
        }
    }

    /// A signal to a process, or its group.
    pub(crate) fn signal(&mut self, at: usize, signal: i32) {
        match signal {
            libc::SIGKILL | libc::SIGTERM => {
                self.end(at, libc::CLD_KILLED, signal);
            }
            0 | libc::SIGCONT => {}
            _ => panic!("signal {signal} is not in the model"),
        }
    }

    /// Reaps a child: another gets its number.
    pub(crate) fn reap(&mut self, at: usize) {
        let pid = self.processes[at].pid;
        self.processes[at].reaped = true;
        self.changes += 1;
        let other = Process { pid, end: None, reaped: false, other: true };
        self.processes.push(other);
    }
}

impl Kernel {
    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Starts a child, with a pidfd if the kernel has them and one is asked for.
    pub(crate) fn start_child(&self, pidfd: bool) -> (Pid, Option<OwnedFd>) {
        let mut state = self.lock();
        let at = state.processes.len();
        let pid = 1000 + i32::try_from(at).unwrap() * 100;
        let child = Process { pid, end: None, reaped: false, other: false };
        state.processes.push(child);
        let makes = pidfd && state.version.pidfds;
        drop(state);
        let pidfd = makes.then(|| self.open(Fd::Pidfd(at)));
        (Pid::new(pid.into()).unwrap(), pidfd)
    }

    /// A child exits, unless a signal has ended it.
    pub(crate) fn exit(&self, pid: u32, status: i32) {
        let pid = pid.try_into().unwrap();
        self.change(|state| {
            let mut processes = state.processes.iter();
            let at = processes.position(|p| p.pid == pid).unwrap();
            state.end(at, libc::CLD_EXITED, status);
        });
    }

    /// Other code of this process waits for any child, and reaps this one. Its
    /// number is used again or not.
    pub(crate) fn steal(&self, pid: u32, reused: bool) {
        let pid: i32 = pid.try_into().unwrap();
        let child = |p: &Process| p.pid == pid && !p.other;
        let mut state = self.lock();
        let at = state.processes.iter().position(child).unwrap();
        while state.processes[at].end.is_none() {
            state = self.changed.wait(state).unwrap();
        }
        if !state.processes[at].reaped {
            state.reap(at);
            if !reused {
                state.processes.pop();
            }
        }
        self.notify();
    }

    pub(crate) fn every_child_was_reaped(&self) {
        let state = self.lock();
        let mut children = state.processes.iter().filter(|p| !p.other);
        assert!(children.all(|p| p.reaped), "a zombie is left");
    }

    /// Whether a child has been reaped.
    pub(crate) fn was_reaped(&self, pid: u32) -> bool {
        let pid: i32 = pid.try_into().unwrap();
        let state = self.lock();
        state.processes.iter().any(|p| p.pid == pid && p.reaped)
    }

    pub(crate) fn open(&self, fd: Fd) -> OwnedFd {
        let mut state = self.lock();
        state.last_fd += 1;
        let number = state.last_fd;
        state.fds.insert(number, fd);
        OwnedFd::new(number)
    }

    /// Tells those that wait that something has changed.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Changes something that others may wait for.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        self.changed.notify_all();
        result
    }

    /// Waits for something, but no longer than `limit`. A thread finds nothing
    /// in its first pauses, in which the others may go on or not; from then on
    /// a pause lasts until something has changed, or each order of the threads
    /// would be one of infinitely many.
    pub(crate) fn wait_until<R>(
        &self,
        limit: Option<Duration>,
        mut look: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let mut state = self.lock();
        let mut seen = look(&mut state);
        match limit {
            None => {
                while seen.is_none() {
                    state = self.changed.wait(state).unwrap();
                    seen = look(&mut state);
                }
            }
            Some(Duration::ZERO) => {}
            Some(limit) => {
                let id = thread::current().id();
                let pauses = state.pauses.entry(id).or_default();
                pauses.count += 1;
                if pauses.count <= ARBITRARY_PAUSES {
                    drop(state);
                    thread::yield_now();
                    state = self.lock();
                    seen = look(&mut state);
                }
                while seen.is_none()
                    && state.pauses[&id].count > ARBITRARY_PAUSES
                    && state.pauses[&id].changes == state.changes
                {
                    state = self.changed.wait(state).unwrap();
                    seen = look(&mut state);
                }
                state.now += limit;
                let changes = state.changes;
                state.pauses.entry(id).or_default().changes = changes;
            }
        }
        seen
    }
}

/// The state of one thread's pauses.
#[derive(Default)]
struct Pauses {
    count: u32,
    /// The number of changes at the end of the last.
    changes: u32,
}

const ARBITRARY_PAUSES: u32 = 1;
