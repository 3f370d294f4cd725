//! Detach, where another process kills the one in between before that has told
//! what it did.
#![allow(unsafe_code, reason = "the tests kill processes")]

mod util;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use offshoot::{ChildOpenOptions, Command, Engine, Stdio, Step};
use util::filter::{self, Action};
use util::reporter::descriptors;
use util::{each_of, has_children, in_own_pids, scratch};

const DETACHING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

/// The state of a process, and its parent's id.
fn stat(of: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

fn children(of: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let pids = all.filter_map(|entry| name(entry.ok()?)?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|it| it.1 == of)).collect()
}

fn kill(pid: u32) {
    assert!(pid > 1);
    // SAFETY: a process of this namespace, which is not its init.
    unsafe { libc::kill(pid.try_into().unwrap(), libc::SIGKILL) };
}

/// Kills the process in between once its child waits in the kernel, and returns
/// the child's id.
fn kill_above_a_child_that_waits() -> u32 {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60));
        for between in children(process::id()) {
            for child in children(between) {
                if stat(child).is_some_and(|it| it.0 == "S") {
                    kill(between);
                    return child;
                }
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn fifo() -> PathBuf {
    let fifo = scratch("detach-killed-fifo").join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
    fifo
}

fn detaches_nothing(engine: Engine) {
    let fifo = fifo();
    let before = descriptors();
    let mut hangs = Command::new("true");
    let read = ChildOpenOptions::new().read(true).clone();
    hangs.engine(engine).stdin(Stdio::null()).open_in_child(9, &fifo, &read);
    let (error, child) = thread::scope(|scope| {
        let killer = scope.spawn(kill_above_a_child_that_waits);
        let error = hangs.detach().unwrap_err();
        (error, killer.join().unwrap())
    });
    assert_eq!(error.step(), Step::Clone, "{engine}: {error}");
    assert_eq!(error.signal(), Some(libc::SIGKILL), "{engine}: {error}");
    assert_eq!(descriptors(), before, "{engine}");
    assert!(!has_children(), "{engine}");
    // The init reaps it.
    let path = format!("/proc/{child}");
    while Path::new(&path).exists() {
        let (state, _) = stat(child).unwrap_or_default();
        assert!(["Z", "X", ""].contains(&state.as_str()), "{engine}: {state}");
    }
}

#[test]
fn a_killed_process_in_between_leaves_no_program_and_no_descriptor() {
    let name =
        "a_killed_process_in_between_leaves_no_program_and_no_descriptor";
    if in_own_pids(name) {
        each_of(&DETACHING, detaches_nothing);
    }
}

/// By clone the kernel tells this process nothing but a number.
#[test]
fn a_killed_process_in_between_leaves_nothing_where_there_is_no_clone3() {
    let name =
        "a_killed_process_in_between_leaves_nothing_where_there_is_no_clone3";
    if in_own_pids(name) {
        each_of(&DETACHING, |engine| {
            let rejects = Action::errno(libc::ENOSYS);
            filter::with(libc::SYS_clone3, rejects, || {
                detaches_nothing(engine);
            });
        });
    }
}

/// The program becomes a child of this process.
#[test]
fn a_subreaper_keeps_no_zombie_of_a_program_that_is_ended() {
    let name = "a_subreaper_keeps_no_zombie_of_a_program_that_is_ended";
    if in_own_pids(name) {
        // SAFETY: changes a flag of this process.
        let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
        assert_eq!(set, 0);
        each_of(&DETACHING, detaches_nothing);
    }
}

#[test]
fn kills_at_any_moment_leave_no_descriptor() {
    if !in_own_pids("kills_at_any_moment_leave_no_descriptor") {
        return;
    }
    let over = AtomicBool::new(false);
    // SAFETY: asks for a number.
    let thread = unsafe { libc::gettid() };
    let path = format!("/proc/self/task/{thread}/children");
    let kill_all = || {
        while !over.load(Ordering::SeqCst) {
            let all = fs::read_to_string(&path).unwrap();
            all.split_whitespace().for_each(|pid| kill(pid.parse().unwrap()));
        }
    };
    thread::scope(|scope| {
        let killer = scope.spawn(kill_all);
        let done = std::panic::catch_unwind(|| {
            for n in 0..300 {
                let engine = DETACHING[n % DETACHING.len()];
                let mut command = Command::new("true");
                command.engine(engine).stdin(Stdio::null());
                // Both are right.
                let _ = command.detach();
            }
        });
        over.store(true, Ordering::SeqCst);
        killer.join().unwrap();
        done.unwrap();
    });
    let mut left = descriptors();
    left.retain(|(_, file)| file.contains("pidfd"));
    assert_eq!(left, []);
    assert!(!has_children());
}
