//! Siblings that a terminal stops before their exec.
#![allow(unsafe_code, reason = "the tests fork and send signals")]

#[path = "sibling/helper.rs"]
#[allow(dead_code, reason = "this file uses its part")]
mod helper;
mod util;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use helper::{MAKING, command, in_own_pids, parent_of, with_helper};
use offshoot::{ChildOpenOptions, Command};
use util::skip;
use util::slow::{fifo, open_writer};

/// The children of a process.
fn children(of: u32) -> BTreeSet<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
    let parent = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        rest.split(' ').nth(1)?.parse().ok()
    };
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

/// Sends the signals to the sibling that waits for the FIFO, and lets it go on:
/// they are blocked in it until right before its exec.
fn stop_the_sibling(parent: u32, known: &BTreeSet<u32>, fifo: &Path) {
    let begun = Instant::now();
    let sibling = loop {
        assert!(begun.elapsed() < Duration::from_secs(60));
        let now = children(parent);
        if let Some(new) = now.difference(known).next() {
            break *new;
        }
        thread::yield_now();
    };
    assert!(sibling > 1);
    for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: one process, whose parent reaps it later.
        unsafe { libc::kill(sibling.try_into().unwrap(), signal) };
    }
    drop(open_writer(fifo));
}

/// Whether `/proc` shows which signal has stopped a process.
fn kernel_shows_stops() -> bool {
    let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
    sleep.signal(libc::SIGSTOP).unwrap();
    let path = format!("/proc/{}/stat", sleep.id());
    let stat = loop {
        let stat = fs::read_to_string(&path).unwrap();
        if stat.contains(") T ") {
            break stat;
        }
        thread::yield_now();
    };
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    stat.split_whitespace().last() == Some(&libc::SIGSTOP.to_string())
}

/// In a group of its own, which a shell would not continue, and which is not
/// orphaned, as its parent is in another of the session: stops have an effect.
#[test]
fn a_sibling_that_a_stop_signal_stops_before_its_exec_goes_on() {
    let name = "a_sibling_that_a_stop_signal_stops_before_its_exec_goes_on";
    if !in_own_pids(name) {
        return;
    }
    if !kernel_shows_stops() {
        return skip(name, "this kernel does not show the signal of a stop");
    }
    for engine in MAKING {
        let fifo = fifo(&format!("{name}-{engine}"));
        let others = with_helper(|| {
            let parent = parent_of(process::id());
            let known = children(parent);
            let mut program = command(engine, "true");
            let read = ChildOpenOptions::new().read(true).clone();
            program.process_group(0).open_in_child(9, &fifo, &read);
            thread::scope(|scope| {
                scope.spawn(|| stop_the_sibling(parent, &known, &fifo));
                let program = program.spawn_sibling().unwrap();
                assert_eq!(program.launch().engine(), engine);
                program.wait().unwrap();
            });
        });
        assert_eq!(others, [0], "{engine}");
    }
}
