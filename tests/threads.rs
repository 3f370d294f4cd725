//! Threads: many spawns at once, and the descriptors of each child. Also run
//! under ThreadSanitizer by .ci/run.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use offshoot::{Command, Stdio};
use util::reporter::{self, Report};
use util::{alone, each_engine};

const THREADS: usize = 64;

/// The pipes in a report.
fn pipes(report: &Report) -> BTreeSet<String> {
    let pipe = |line: &&str| line.contains(" pipe:");
    let name = |line: &str| line.split(' ').nth(1).unwrap().to_string();
    report.all("fd").into_iter().filter(pipe).map(name).collect()
}

/// The open descriptors. Nothing under ThreadSanitizer, which may open pipes
/// to its symbolizer at any time.
fn descriptors() -> Vec<(String, String)> {
    match std::env::var_os("TSAN_OPTIONS") {
        Some(_) => Vec::new(),
        None => reporter::descriptors(),
    }
}

/// Runs `work` in so many threads at once, and joins each: TSan knows the
/// join, not the counter of a scope.
fn together(threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let work = &work;
        let spawn = |n| scope.spawn(move || work(n));
        let all: Vec<_> = (0..threads).map(spawn).collect();
        all.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Each child has three descriptors, and no pipe of another spawn.
#[test]
fn sixty_four_threads_spawn_at_once_and_no_child_sees_another_s_pipe() {
    let _alone = alone();
    each_engine(|engine| {
        let before = descriptors();
        let seen = AtomicUsize::new(0);
        together(THREADS, |_| {
            let mut command = util::reporter_with(engine);
            command.stdin(Stdio::piped());
            let output = command.output().unwrap();
            let report = Report::parse(&output.stdout);
            assert_eq!(report.fds(), [0, 1, 2], "{report:?}");
            assert_eq!(pipes(&report).len(), 3, "{report:?}");
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(seen.into_inner(), THREADS);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn one_prepared_with_pipes_is_shared_by_sixty_four_threads() {
    let _alone = alone();
    each_engine(|engine| {
        let before = descriptors();
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).engine(engine);
        let cat = cat.prepare().unwrap();
        together(THREADS, |n| {
            for round in 0..3 {
                let word = format!("{n}/{round}");
                let mut child = cat.spawn().unwrap();
                let stdin = child.stdin.as_mut().unwrap();
                stdin.write_all(word.as_bytes()).unwrap();
                let output = child.wait_with_output().unwrap();
                assert_eq!(output.stdout, word.as_bytes());
            }
        });
        drop(cat);
        assert_eq!(descriptors(), before);
    });
}

/// Other threads open and close descriptors meanwhile, some without
/// close-on-exec; no child ever has one.
#[test]
fn descriptors_opened_by_other_threads_are_never_inherited() {
    let _alone = alone();
    each_engine(|engine| {
        let done = AtomicBool::new(false);
        together(3, |n| match n {
            0 => {
                for _ in 0..100 {
                    let mut command = util::reporter_with(engine);
                    command.stdin(Stdio::null());
                    let output = command.output().unwrap();
                    let report = Report::parse(&output.stdout);
                    assert_eq!(report.fds(), [0, 1, 2], "{report:?}");
                }
                done.store(true, Ordering::Relaxed);
            }
            _ => {
                while !done.load(Ordering::Relaxed) {
                    open_and_close();
                }
            }
        });
    });
}

fn open_and_close() {
    let file = File::open("/dev/zero").unwrap();
    // SAFETY: duplicates an open descriptor, to be inherited.
    let leaky = unsafe { libc::dup(file.as_raw_fd()) };
    drop(file);
    thread::yield_now();
    // SAFETY: closes the new descriptor.
    unsafe { libc::close(leaky) };
}
