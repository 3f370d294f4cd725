//! Periodic signals: a signal every few milliseconds, as profilers and language
//! runtimes use, while a child dies without a futex wake.
#![allow(unsafe_code, reason = "tests do what other libraries do")]

mod util;

use std::process;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Error, Step};
use util::filter::{self, Action};
use util::fork::forked_within;
use util::{alone, each_of};

/// Upper limit for a spawn that must not block.
const SOON: Duration = Duration::from_secs(20);

extern "C" fn nothing(_: libc::c_int) {}

/// Runs `test` in a thread that a signal interrupts every 5 ms. Its child is
/// killed when it registers the futex that the parent waits for.
fn with_signals(test: impl Fn() -> Error + Send + Sync) -> Error {
    let nothing = nothing as extern "C" fn(libc::c_int);
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGALRM, nothing as usize) };
    let begun = Instant::now();
    filter::with(libc::SYS_set_robust_list, Action::Kill, || {
        // SAFETY: returns a number and writes no memory.
        let own = unsafe { libc::syscall(libc::SYS_gettid) };
        // A thread that is created here would be under the filter.
        TARGET.store(own, Ordering::SeqCst);
        let error = test();
        TARGET.store(0, Ordering::SeqCst);
        assert!(begun.elapsed() < SOON, "{error}");
        error
    })
}

static TARGET: AtomicI64 = AtomicI64::new(0);

fn send_signals() {
    let mut waited = Duration::ZERO;
    let pid = process::id();
    loop {
        let tid = TARGET.load(Ordering::SeqCst);
        if tid < 0 {
            return;
        }
        if tid > 0 {
            // SAFETY: a signal with a handler, for a thread of this process.
            unsafe {
                libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGALRM)
            };
            waited += Duration::from_millis(5);
        } else {
            waited = Duration::ZERO;
        }
        if waited > SOON {
            eprintln!("a spawn blocks");
            process::abort();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn periodic_signals_do_not_hide_a_dead_child_from_spawn() {
    let name = "periodic_signals_do_not_hide_a_dead_child_from_spawn";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let sender = thread::spawn(send_signals);
    each_of(&[Engine::Copied, Engine::Isolated], |engine| {
        for gate in [false, true] {
            let error = with_signals(|| {
                let mut command = Command::new("/bin/true");
                command.engine(engine);
                if gate {
                    command.before_exec(|_, _| Ok(()));
                }
                command.spawn().map(drop).unwrap_err()
            });
            let steps = [Step::RobustList, Step::Image];
            assert!(steps.contains(&error.step()), "{engine}: {error}");
        }
    });
    TARGET.store(-1, Ordering::SeqCst);
    sender.join().unwrap();
    assert!(!util::has_children());
}

/// Without futex calls the parent polls, and detects the end of the child.
#[test]
fn a_rejected_futex_does_not_hide_a_dead_child_from_spawn() {
    let name = "a_rejected_futex_does_not_hide_a_dead_child_from_spawn";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        each_of(&[Engine::Copied, Engine::Isolated], |engine| {
            // A thread without futexes does not wake the threads that wait
            // for a lock of libc's which it holds, at its exit for example:
            // it is the only thread of its process.
            let status = forked_within(SOON, || {
                let mut command = Command::new("/bin/true");
                command.engine(engine);
                filter::install(libc::SYS_set_robust_list, Action::Kill);
                filter::install(libc::SYS_futex, Action::errno(errno));
                let error = command.spawn().map(drop).unwrap_err();
                let steps = [Step::RobustList, Step::Image];
                assert!(steps.contains(&error.step()), "{error}");
                0
            });
            assert_eq!(status, Some(0), "{engine}, {errno}");
        });
    }
}
