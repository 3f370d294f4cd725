//! Exec in place and signals: they are blocked while the steps run.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{mem, ptr};

use offshoot::{Command, Step};
use util::fork::{end_with, fork, forked};
use util::place::lead;
use util::{alone, inside};

/// A shell's job, which would be stopped by SIGTTOU.
#[test]
fn an_exec_in_the_background_takes_the_foreground() {
    let name = "an_exec_in_the_background_takes_the_foreground";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let (_controller, terminal) = lead();
    // SAFETY: sets a disposition; whatever started this may ignore it.
    unsafe { libc::signal(libc::SIGTTOU, libc::SIG_DFL) };
    let pid = fork();
    if pid == 0 {
        end_with(|| {
            // SAFETY: takes numbers.
            assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
            panic!("{}", Command::new("true").foreground(terminal).exec());
        });
    }
    let mut status = 0;
    // SAFETY: writes one int; the child is the test's own.
    let waited =
        unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
    if libc::WIFSTOPPED(status) {
        assert!(pid > 1);
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    assert_eq!((waited, status), (pid, 0), "it was stopped");
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

const PAUSE: rustix::event::Timespec =
    rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// The option gives the signal its default action, which is to kill, until the
/// exec has failed.
#[test]
fn a_failing_exec_is_not_ended_by_a_signal_that_has_a_handler() {
    let name = "a_failing_exec_is_not_ended_by_a_signal_that_has_a_handler";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    // Signals go to any thread that does not block them, so there is one only.
    let status = forked(|| {
        failing_execs();
        0
    });
    assert_eq!(status, 0);
}

fn failing_execs() {
    // SAFETY: all zeros is an empty action.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler adds to a counter.
    unsafe {
        libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut())
    };
    let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: reads one itimerval.
    unsafe { libc::setitimer(0, &raw const timer, ptr::null_mut()) };
    for _ in 0..20 {
        let before = COUNT.load(Ordering::Relaxed);
        let mut fails = Command::new("/bin/true");
        fails.reset_signals();
        // SAFETY: the hook waits with a system call.
        unsafe {
            fails.pre_exec(|_| {
                let _ = rustix::event::poll(&mut [], Some(&PAUSE));
                Err(offshoot::Errno::from_raw_os_error(libc::EBUSY))
            });
        }
        let error = fails.exec();
        assert_eq!(error.step(), Step::PreExec, "{error}");
        assert!(COUNT.load(Ordering::Relaxed) > before, "a pending signal");
    }
}
