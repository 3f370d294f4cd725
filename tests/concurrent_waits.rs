//! Concurrent waits: what the engine concurrent does until its children no
//! longer use the caller's memory, and where a batch meets a limit.
#![allow(unsafe_code, reason = "tests send signals to their own processes")]

mod util;

use std::os::unix::thread::JoinHandleExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use offshoot::{
    Child, ChildOpenOptions, Command, Engine, Prepared, Resource, Rlimit,
    spawn_all,
};
use util::slow::{LONG, fifo, open_writer};
use util::{alone, has_children, inside, limit, limit_with};

/// The process ids of this process's children.
fn children() -> Vec<i32> {
    let own = process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat"));
        let stat = stat.unwrap_or_default();
        let parent = stat.rsplit_once(") ").map(|(_, rest)| rest);
        if parent.and_then(|rest| rest.split(' ').nth(1)) == Some(&own) {
            found.push(pid);
        }
    }
    found
}

/// The only child, once there is one.
fn only_child() -> i32 {
    let begun = Instant::now();
    loop {
        if let [pid] = children()[..] {
            assert!(pid > 1);
            return pid;
        }
        assert!(begun.elapsed() < LONG, "{:?}", children());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the child may exec, and whether its spawn has returned.
static RELEASED: AtomicBool = AtomicBool::new(false);
static HAS_RETURNED: AtomicBool = AtomicBool::new(false);

extern "C" fn ignore(_: libc::c_int) {}

/// One that opens a FIFO, which nobody writes to yet.
fn held(fifo: &Path) -> Command {
    let mut command = Command::new("/bin/true");
    command.engine(Engine::Concurrent).process_group(0);
    let read = ChildOpenOptions::new().read(true).clone();
    command.open_in_child(7, fifo, &read);
    command
}

/// Signals interrupt its wait all the time, and a stop signal stops the child
/// right before its exec: nobody else would continue it.
#[test]
fn the_caller_returns_when_the_child_has_execd_and_no_earlier() {
    let _alone = alone();
    let fifo = fifo("concurrent-fifo");
    let handler = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGUSR2, handler) };
    let prepared = held(&fifo).prepare().unwrap();
    let caller = thread::spawn(move || {
        let child = prepared.spawn();
        HAS_RETURNED.store(true, Ordering::SeqCst);
        (child, RELEASED.load(Ordering::SeqCst))
    });
    // SAFETY: the child, which nobody has reaped.
    assert_eq!(unsafe { libc::kill(only_child(), libc::SIGTSTP) }, 0);
    for _ in 0..100 {
        assert!(!HAS_RETURNED.load(Ordering::SeqCst));
        // SAFETY: the thread is not joined yet; the handler does nothing.
        unsafe { libc::pthread_kill(caller.as_pthread_t(), libc::SIGUSR2) };
        thread::sleep(Duration::from_millis(1));
    }
    RELEASED.store(true, Ordering::SeqCst);
    let writer = open_writer(&fifo);
    let (child, after) = caller.join().unwrap();
    drop(writer);
    assert!(after, "it returned while the child used its memory");
    let mut child = child.unwrap();
    assert_eq!(child.launch().engine(), Engine::Concurrent);
    assert!(child.launch().confirmed());
    assert!(child.wait().unwrap().success());
    assert!(!has_children());
}

/// A child that is killed as it waits is an error, and not one that ran.
#[test]
fn a_child_that_another_kills_before_exec_is_an_error() {
    let _alone = alone();
    let fifo = fifo("concurrent-killed");
    let spawned = thread::spawn({
        let prepared = held(&fifo).prepare().unwrap();
        move || prepared.spawn()
    });
    // SAFETY: the child, which nobody has reaped.
    assert_eq!(unsafe { libc::kill(only_child(), libc::SIGKILL) }, 0);
    let error = spawned.join().unwrap().unwrap_err();
    assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
    assert!(!has_children());
}

/// Numbers for some pidfds and not for all.
#[test]
fn a_batch_that_meets_the_limit_of_descriptors_starts_what_fits() {
    if !inside(
        "a_batch_that_meets_the_limit_of_descriptors_starts_what_fits",
        &[],
    ) {
        return;
    }
    let _alone = alone();
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one rlimit.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) };
    assert_eq!(got, 0);
    // The programs have the limit of before.
    let own = Rlimit::new(old.rlim_cur, old.rlim_max);
    let one = || {
        let mut command = Command::new("/bin/true");
        command.rlimit(Resource::NoFile, own).prepare().unwrap()
    };
    let all: Vec<Prepared> = (0..12).map(|_| one()).collect();
    let kept = count();
    for free in 0..14 {
        limit(libc::RLIMIT_NOFILE, limit_with(free), old.rlim_max);
        let children = spawn_all(&all);
        limit(libc::RLIMIT_NOFILE, old.rlim_cur, old.rlim_max);
        let mut children: Vec<Child> =
            children.into_iter().map(|child| child.unwrap()).collect();
        for child in &mut children {
            assert!(child.wait().unwrap().success(), "{free}");
        }
        drop(children);
        assert!(count() <= kept + 1, "{free}");
    }
    drop(all);
    assert!(count() <= before + 1);
    assert!(!has_children());
}
