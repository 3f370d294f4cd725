//! Retry again: a clone that fails with EAGAIN is tried again for as long as
//! the caller permits, and not longer.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Engine, Step};
use util::clean::{assert_error, clean, command};
use util::filter::{self, Action};
use util::{alone, each_engine, is_root, limit};

fn clone_call(engine: Engine) -> libc::c_long {
    match engine {
        Engine::Pipe => libc::SYS_clone,
        _ => libc::SYS_clone3,
    }
}

#[test]
fn retries_end_with_the_duration_and_the_error_is_that_of_clone() {
    let _alone = alone();
    let duration = Duration::from_millis(30);
    each_engine(|engine| {
        let mut command = command("/bin/true", engine);
        command.retry_again(duration);
        let (nr, action) = (clone_call(engine), Action::errno(libc::EAGAIN));
        let begin = Instant::now();
        let spawn = || command.spawn().map(drop);
        let error = clean(|| filter::with(nr, action, spawn));
        assert!(begin.elapsed() >= duration, "{engine}");
        assert_error(&error, Step::Clone, None, libc::EAGAIN);
        assert!(error.to_string().contains("RLIMIT_NPROC"), "{error}");
        assert!(error.to_string().contains("pids.max"), "{error}");
    });
}

#[test]
fn another_error_of_clone_is_not_retried() {
    let _alone = alone();
    each_engine(|engine| {
        let mut command = command("/bin/true", engine);
        command.retry_again(Duration::MAX);
        let (nr, action) = (clone_call(engine), Action::errno(libc::ENOMEM));
        let spawn = || command.spawn().map(drop);
        let error = clean(|| filter::with(nr, action, spawn));
        assert_error(&error, Step::Clone, None, libc::ENOMEM);
    });
}

#[test]
fn a_spawn_that_is_not_retried_reports_none() {
    let _alone = alone();
    each_engine(|engine| {
        let mut command = command("/bin/true", engine);
        command.retry_again(Duration::from_secs(60));
        let mut child = command.spawn().unwrap();
        assert_eq!(child.launch().again_retries(), 0);
        child.wait().unwrap();
    });
}

/// Whether a thread of this process waits in `clock_nanosleep`.
fn sleeps(thread: i32) -> bool {
    let path = format!("/proc/self/task/{thread}/syscall");
    let text = fs::read_to_string(path).unwrap();
    let number = text.split(' ').next().unwrap();
    number == libc::SYS_clock_nanosleep.to_string()
}

/// The user may have no further process until a thread has seen the caller
/// sleep between two attempts.
#[test]
fn a_spawn_waits_until_the_user_may_have_another_process() {
    let name = "a_spawn_waits_until_the_user_may_have_another_process";
    let _alone = alone();
    // A user without processes, as root has no such limit.
    let wrap: &[&str] = match is_root() {
        true => &["setpriv", "--reuid=47114", "--clear-groups"],
        false => &[],
    };
    if is_root() && !util::is_inside(name) && !starts(wrap) {
        return util::skip(name, "another user cannot run this test");
    }
    if !util::inside(name, wrap) {
        return;
    }
    static SPAWNER: AtomicI32 = AtomicI32::new(0);
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut old) };
    assert_eq!(done, 0);
    for engine in util::ENGINES {
        let release = thread::spawn(move || {
            let spawner = loop {
                match SPAWNER.swap(0, Ordering::SeqCst) {
                    0 => thread::yield_now(),
                    spawner => break spawner,
                }
            };
            while !sleeps(spawner) {
                thread::yield_now();
            }
            limit(libc::RLIMIT_NPROC, old.rlim_cur, old.rlim_max);
        });
        limit(libc::RLIMIT_NPROC, 0, old.rlim_max);
        let mut command = command("/bin/true", engine);
        command.retry_again(Duration::from_secs(60));
        // SAFETY: returns a number and writes no memory.
        SPAWNER.store(unsafe { libc::gettid() }, Ordering::SeqCst);
        let mut child = command.spawn().unwrap();
        assert!(child.launch().again_retries() > 0, "{engine}");
        assert!(child.wait().unwrap().success());
        release.join().unwrap();
    }
}

/// Whether this program can be started so.
fn starts(wrap: &[&str]) -> bool {
    let exe = std::env::current_exe().unwrap();
    let mut list = std::process::Command::new(wrap[0]);
    list.args(&wrap[1..]).arg(exe).arg("--list");
    list.output().is_ok_and(|output| output.status.success())
}
