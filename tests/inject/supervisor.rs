//! Supervisor: receives every system call of one thread and its children by
//! seccomp user notification, and injects a fault into the Nth call of a
//! child. Needs no privilege.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use crate::util::notify::{self, Answer, Notice, answer};

/// A fault of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call is not made and fails with this errno.
    Errno(i32),
    /// The call is not made and the child is killed.
    Kill,
    /// The call is delayed.
    Pause,
}

/// A system call's number and arguments.
pub(crate) type Made = (libc::c_long, [u64; 6]);

/// One spawn under supervision.
#[derive(Debug, Default)]
struct Watch {
    /// The call of the first child, counted from 1, and its fault.
    target: Option<(usize, Fault)>,
    child: Option<u32>,
    /// Whether a process in between makes the child, and that process.
    detaches: bool,
    between: Option<u32>,
    /// The calls of the child before the program ran.
    calls: Vec<Made>,
    /// Whether it waits at the gate, where it may wake more than once.
    waits: bool,
    running: bool,
}

/// The state that the watched thread and the supervisor share.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    watch: Mutex<Watch>,
    /// Whether another thread of this process makes the child. Not under the
    /// lock: the watched thread may hold that while such a thread ends, and
    /// wakes nobody until the call that does is answered.
    starts: AtomicBool,
}

impl Supervisor {
    /// Resets the state: the next child is the first.
    pub(crate) fn aim(&self, target: Option<(usize, Fault)>) {
        self.starts.store(false, Ordering::SeqCst);
        *self.watch.lock().unwrap() = Watch { target, ..Watch::default() };
    }

    /// As `aim`, for `detach`: the child is the second process.
    pub(crate) fn aim_detached(&self, target: Option<(usize, Fault)>) {
        self.aim(target);
        self.watch.lock().unwrap().detaches = true;
    }

    /// As `aim`, for `start`: the calls of other threads are let through.
    pub(crate) fn aim_started(&self, target: Option<(usize, Fault)>) {
        self.aim(target);
        self.starts.store(true, Ordering::SeqCst);
    }

    /// The calls of the first child before its program ran.
    pub(crate) fn calls(&self) -> Vec<Made> {
        self.watch.lock().unwrap().calls.clone()
    }

    /// Records a child's call, and returns the fault for it.
    fn record(&self, notice: &Notice) -> Option<Fault> {
        if self.starts.load(Ordering::SeqCst) && is_thread(notice.pid) {
            return None;
        }
        let mut watch = self.watch.lock().unwrap();
        if watch.detaches
            && *watch.between.get_or_insert(notice.pid) == notice.pid
        {
            return None;
        }
        let child = *watch.child.get_or_insert(notice.pid);
        if child != notice.pid || watch.running {
            return None;
        }
        // After an exec that was let through: another candidate, the exit
        // of a child that failed, or the program.
        let nr = libc::c_long::from(notice.nr);
        let execs = [libc::SYS_execve, libc::SYS_execveat];
        let after =
            watch.calls.last().is_some_and(|one| execs.contains(&one.0));
        // The first call of the helper maps the status page.
        let helper = nr == libc::SYS_mmap && notice.args[0] == 0x40_0000;
        if after
            && !helper
            && nr != libc::SYS_exit_group
            && !execs.contains(&nr)
        {
            watch.running = true;
            return None;
        }
        let wait = libc::FUTEX_WAIT.unsigned_abs();
        if nr == libc::SYS_futex && notice.args[1] == u64::from(wait) {
            if watch.waits {
                return None;
            }
            watch.waits = true;
        }
        watch.calls.push((nr, notice.args));
        let count = watch.calls.len();
        let hit = watch.target.filter(|(n, _)| *n == count);
        hit.map(|(_, fault)| fault)
    }
}

/// Whether a thread of this process has this id.
fn is_thread(id: u32) -> bool {
    Path::new(&format!("/proc/self/task/{id}")).exists()
}

const NEW_LISTENER: libc::c_ulong = 1 << 3;
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
const USER_NOTIF: u32 = 0x7FC0_0000;

/// The argument of a call that ends the supervision.
const DONE: i32 = -4711;

/// Runs `test` in a new thread under supervision.
pub(crate) fn watch<T: Send>(test: impl FnOnce(&Supervisor) -> T + Send) -> T {
    let supervisor = Supervisor::default();
    let (listener, own) = (AtomicI32::new(-1), AtomicU32::new(0));
    thread::scope(|scope| {
        let supervisor = &supervisor;
        let (listener, own) = (&listener, &own);
        // Created before: a thread that ends holds the lock of libc that a new
        // one takes, and its calls wait to be answered.
        let (send, rest) = sync_channel::<OwnedFd>(1);
        scope.spawn(move || {
            if let Ok(listener) = rest.recv() {
                serve_rest(&listener);
            }
        });
        let watched = scope.spawn(move || {
            // SAFETY: returns a number and writes no memory.
            let id = unsafe { libc::gettid() }.unsigned_abs();
            own.store(id, Ordering::SeqCst);
            // From here on each call blocks until it is answered.
            listener.store(install(), Ordering::SeqCst);
            let done = std::panic::AssertUnwindSafe(|| test(supervisor));
            let done = std::panic::catch_unwind(done);
            // SAFETY: fails, and ends the loop of the other thread.
            unsafe { libc::getpgid(DONE) };
            done
        });
        while listener.load(Ordering::SeqCst) < 0 {
            thread::yield_now();
        }
        let own = own.load(Ordering::SeqCst);
        // SAFETY: the descriptor is new and has no other owner.
        let listener =
            unsafe { OwnedFd::from_raw_fd(listener.load(Ordering::SeqCst)) };
        serve(&listener, own, supervisor);
        // Calls that the thread makes while it ends are let through.
        send.send(listener).unwrap();
        match watched.join().unwrap() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn install() -> i32 {
    #[allow(clippy::cast_possible_truncation, reason = "16-bit codes")]
    let mut row = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: USER_NOTIF,
    };
    let program = libc::sock_fprog { len: 1, filter: &raw mut row };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let flags = NEW_LISTENER | WAIT_KILLABLE;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) };
    assert!(fd >= 0, "no listener");
    i32::try_from(fd).unwrap()
}

/// Answers until the watched thread is done.
fn serve(listener: &OwnedFd, own: u32, supervisor: &Supervisor) {
    while let Some(notice) = receive(listener) {
        let mut fault = None;
        if notice.pid != own {
            fault = supervisor.record(&notice);
        } else if i64::from(notice.nr) == libc::SYS_getpgid {
            answer(listener, &notice, Answer::Continue);
            return;
        }
        match fault {
            Some(Fault::Kill) => kill(notice.pid),
            Some(Fault::Pause) => {
                thread::sleep(Duration::from_millis(3));
                answer(listener, &notice, Answer::Continue);
            }
            Some(Fault::Errno(errno)) => {
                answer(listener, &notice, Answer::Errno(errno));
            }
            None => answer(listener, &notice, Answer::Continue),
        }
    }
}

/// Answers until no thread with the filter is left.
fn serve_rest(listener: &OwnedFd) {
    loop {
        let mut poll =
            libc::pollfd { fd: listener.as_raw_fd(), events: 1, revents: 0 };
        // SAFETY: one pollfd, in this frame.
        unsafe { libc::poll(&mut poll, 1, -1) };
        if poll.revents & libc::POLLIN == 0 {
            return;
        }
        if let Some(notice) = receive(listener) {
            answer(listener, &notice, Answer::Continue);
        }
    }
}

fn receive(listener: &OwnedFd) -> Option<Notice> {
    loop {
        let error = match notify::receive(listener) {
            Ok(notice) => return Some(notice),
            Err(error) => error,
        };
        // ENOENT: killed before the notice was read.
        let again = [Some(libc::EINTR), Some(libc::ENOENT)];
        if !again.contains(&error.raw_os_error()) {
            return None;
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).unwrap();
    assert!(pid > 1, "never a group, never init");
    // SAFETY: a child that is stopped in an unanswered call.
    let done = unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(done, 0);
}
