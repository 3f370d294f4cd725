//! Stopped call: a spawn whose child is stopped at each call of one number, by
//! seccomp user notification, while a closure inspects it.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{mem, thread};

use crate::util::is_root;

/// A child that is stopped at the entry of a system call.
pub(crate) struct StoppedCall {
    pub(crate) pid: u32,
    /// The tid of the thread that spawns it.
    pub(crate) caller: i32,
    pub(crate) args: [u64; 6],
}

impl StoppedCall {
    pub(crate) fn of(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }
}

/// Runs `spawn` in a new thread, and `look` whenever that thread or a child of
/// it enters call `nr`, which is then let through. If `look` panics the call
/// fails, and no process is left stopped.
pub(crate) fn stop_at<T: Send>(
    nr: libc::c_long,
    spawn: impl FnOnce() -> T + Send,
    mut look: impl FnMut(StoppedCall),
) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        let (send, listener) = mpsc::channel();
        let spawning = scope.spawn(move || {
            // SAFETY: returns a number and writes no memory.
            send.send((install(nr), unsafe { libc::gettid() })).unwrap();
            spawn()
        });
        let (listener, caller) = listener.recv().unwrap();
        while !spawning.is_finished() {
            assert!(Instant::now() < deadline, "the spawn does not end");
            if let Some(notice) = receive(&listener) {
                let (pid, args) = (notice.pid, notice.data.args);
                look(StoppedCall { pid, caller, args });
                continue_call(&listener, &notice);
            }
        }
        spawning.join().unwrap()
    })
}

fn install(nr: libc::c_long) -> OwnedFd {
    let row = |code: u32, jt, jf, k| {
        let code = u16::try_from(code).unwrap();
        libc::sock_filter { code, jt, jf, k }
    };
    let nr = u32::try_from(nr).unwrap();
    let mut rows = [
        row(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        row(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, nr),
        row(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        row(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: rows.as_mut_ptr() };
    if !is_root() {
        // SAFETY: sets a flag of this thread; without root a filter needs it.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    }
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the kernel copies the program, which lives in this frame.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap()) }
}

fn receive(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    let fd = listener.as_raw_fd();
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, in this frame.
    unsafe { libc::poll(&mut poll, 1, 5) };
    if poll.revents & libc::POLLIN == 0 {
        return None;
    }
    // SAFETY: all zeros is a valid notice, as the kernel requires.
    let mut notice: libc::seccomp_notif = unsafe { mem::zeroed() };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: the request writes one notice; it fails if the call was
    // interrupted meanwhile.
    let done = unsafe { libc::ioctl(fd, request, &raw mut notice) };
    (done == 0).then_some(notice)
}

/// Continues the call. An interrupted call has another id, and fails here.
fn continue_call(listener: &OwnedFd, notice: &libc::seccomp_notif) {
    const CONTINUE: u32 = 1;
    let (id, flags) = (notice.id, CONTINUE);
    let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the request reads one answer.
    unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw const answer) };
}
