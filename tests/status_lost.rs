//! The status of a child that the kernel reaps, which it tells a moment after
//! no wait sees the child any more.
#![allow(
    unsafe_code,
    reason = "the tests change signals, and install filters"
)]

mod util;

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::{fs, thread};

use offshoot::{Child, Command};
use rustix::event::{PollFd, PollFlags, poll};
use util::notify::{Answer, Notice, answer, receive};
use util::{inside, skip};

/// `PIDFD_GET_INFO`, and `PIDFD_INFO_EXIT` of its first word.
const GET: u32 = 0xC050_FF0B;
const EXIT: u64 = 1 << 3;

/// Has this thread's calls for information about a pidfd wait for an answer.
fn install() -> OwnedFd {
    const NOTIFY: u32 = 0x7FC0_0000;
    const NEW_LISTENER: libc::c_ulong = 1 << 3;
    #[allow(clippy::cast_possible_truncation, reason = "16-bit codes")]
    let row = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let give = libc::BPF_RET | libc::BPF_K;
    let ioctl = u32::try_from(libc::SYS_ioctl).unwrap();
    let mut rows = [
        row(load, 0, 0, 0),
        row(equal, 0, 3, ioctl),
        // The second argument.
        row(load, 0, 0, 24),
        row(equal, 0, 1, GET),
        row(give, 0, 0, NOTIFY),
        row(give, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 6, filter: rows.as_mut_ptr() };
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let (nr, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel copies the program, which lives in this frame.
    let fd = unsafe { libc::syscall(nr, mode, NEW_LISTENER, &program) };
    assert!(fd >= 0, "no listener");
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd.try_into().unwrap()) }
}

/// Runs `test` in a new thread, whose first looks get this answer, so many of
/// them; returns how often it has looked.
fn with_first_looks<T: Send>(
    count: usize,
    first: impl Fn(&Notice) -> Answer,
    test: impl FnOnce() -> T + Send,
) -> (T, usize) {
    let number = AtomicI32::new(-1);
    thread::scope(|scope| {
        let run = || {
            let fd = std::os::fd::IntoRawFd::into_raw_fd(install());
            number.store(fd, Ordering::SeqCst);
            test()
        };
        let thread = scope.spawn(run);
        while number.load(Ordering::SeqCst) < 0 && !thread.is_finished() {
            thread::yield_now();
        }
        // SAFETY: the thread has given up this descriptor.
        let listener =
            unsafe { OwnedFd::from_raw_fd(number.load(Ordering::SeqCst)) };
        let mut looks = 0;
        loop {
            let mut fds = [PollFd::new(&listener, PollFlags::IN)];
            poll(&mut fds, None).unwrap();
            if !fds[0].revents().contains(PollFlags::IN) {
                break;
            }
            let notice = receive(&listener).unwrap();
            looks += 1;
            let what = match looks <= count {
                true => first(&notice),
                false => Answer::Continue,
            };
            answer(&listener, &notice, what);
        }
        (thread.join().unwrap(), looks)
    })
}

/// A child with status 7 that the kernel has reaped.
fn reaped() -> Child {
    let mut sh = Command::new("sh");
    let child = sh.args(["-c", "exit 7"]).spawn().unwrap();
    while fs::metadata(format!("/proc/{}", child.id())).is_ok() {
        thread::yield_now();
    }
    child
}

/// As the kernel looks for the ids of a process twice, it may find that they
/// are gone in between; and the pidfd is readable before the status is there.
#[test]
fn a_status_that_the_kernel_tells_a_moment_later_is_not_lost() {
    let name = "a_status_that_the_kernel_tells_a_moment_later_is_not_lost";
    if !inside(name, &["env"]) {
        return;
    }
    // SAFETY: the process is the test's own.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    // Before Linux 6.15 the status is lost.
    if reaped().wait().is_err() {
        return skip(name, "this kernel does not tell the status");
    }
    let gone = |_: &Notice| Answer::Errno(libc::ESRCH);
    // Without the status.
    let early = |notice: &Notice| {
        let at = usize::try_from(notice.args[2]).unwrap();
        let mask = std::ptr::with_exposed_provenance_mut::<u64>(at);
        // SAFETY: the first word of a struct of the thread that waits for the
        // answer, in this process.
        unsafe { *mask &= !EXIT };
        Answer::Value(0)
    };
    let wait = |mut child: Child| move || child.wait().map(|it| it.code());
    for count in [0, 1, 2] {
        let (status, looks) = with_first_looks(count, gone, wait(reaped()));
        assert_eq!((status.unwrap(), looks), (Some(7), count + 1), "gone");
        let (status, looks) = with_first_looks(count, early, wait(reaped()));
        assert_eq!((status.unwrap(), looks), (Some(7), count + 1), "early");
    }
    // It does not look for ever.
    let (status, looks) = with_first_looks(100, gone, wait(reaped()));
    assert_eq!(status.unwrap_err().step(), offshoot::Step::Wait);
    assert!(looks < 10, "{looks}");
}

/// Waits begin before the end, and at it.
#[test]
fn no_status_is_lost_while_sigchld_is_ignored() {
    let name = "no_status_is_lost_while_sigchld_is_ignored";
    if !inside(name, &["env"]) {
        return;
    }
    // SAFETY: the process is the test's own.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if reaped().wait().is_err() {
        return skip(name, "this kernel does not tell the status");
    }
    let mut ends = Command::new("sh");
    let ends = ends.args(["-c", "exit 7"]).prepare().unwrap();
    for n in 0..1000 {
        let mut child = ends.spawn().unwrap();
        let status = match n % 3 {
            0 => child.wait().unwrap(),
            1 => child.process().wait().unwrap(),
            _ => loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
            },
        };
        assert_eq!(status.code(), Some(7), "{n}");
    }
}
