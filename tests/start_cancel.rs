//! Start: one that is cancelled, dropped or forgotten, at any moment.

mod util;

use std::fs::File;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use offshoot::Command;
use util::slow::{
    LONG, command, end, fifo, is_ready, no_child_stays, open_writer, waits,
};
use util::{each_engine, fork, inside};

#[test]
fn a_start_that_is_cancelled_leaves_nothing() {
    each_engine(|engine| {
        let fifo = fifo("start-cancel");
        for milliseconds in [0, 1, 20] {
            let starting = waits(engine, &fifo).start().unwrap();
            thread::sleep(Duration::from_millis(milliseconds));
            assert!(starting.cancel(), "{engine} {milliseconds}");
            assert!(no_child_stays(), "{engine} {milliseconds}");
        }
        // The program runs by then.
        let mut sleep = command("sleep", engine);
        let starting = sleep.arg("60").start().unwrap();
        assert!(is_ready(&starting, 30_000));
        assert!(starting.cancel());
        assert!(no_child_stays(), "{engine}");
    });
}

#[test]
fn a_start_can_be_dropped_in_each_of_its_states() {
    each_engine(|engine| {
        let fifo = fifo("start-drop");
        for microseconds in [0, 30, 60, 100, 200, 400, 800, 2000, 20_000] {
            drop(waits(engine, &fifo).start().unwrap());
            let starting = waits(engine, &fifo).start().unwrap();
            thread::sleep(Duration::from_micros(microseconds));
            drop(starting);
            let mut sleep = command("sleep", engine);
            let starting = sleep.arg("60").start().unwrap();
            thread::sleep(Duration::from_micros(microseconds));
            drop(starting);
        }
        assert!(no_child_stays(), "{engine}");
        // Its child was returned: the drop does not touch it.
        let mut sleep = command("sleep", engine);
        let mut starting = sleep.arg("60").start().unwrap();
        let mut child = loop {
            if let Some(child) = starting.wait_timeout(LONG).unwrap() {
                break child;
            }
        };
        drop(starting);
        assert_eq!(child.try_wait().unwrap(), None, "{engine}");
        end(child);
    });
}

#[test]
fn the_program_of_a_forgotten_start_runs() {
    if !inside("the_program_of_a_forgotten_start_runs", &[]) {
        return;
    }
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut cat = Command::new("echo");
    mem::forget(cat.arg("ran").stdout(write).start().unwrap());
    drop(cat);
    let text = std::io::read_to_string(File::from(read)).unwrap();
    assert_eq!(text, "ran\n");
}

#[test]
fn a_start_that_is_cancelled_at_any_moment_leaves_nothing() {
    each_engine(|engine| {
        let fifo = fifo("start-moments");
        let prepared = Arc::new(waits(engine, &fifo).prepare().unwrap());
        let mut seed = 7u32;
        for _ in 0..400 {
            let starting = prepared.start().unwrap();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let moment = Duration::from_micros(u64::from(seed >> 24));
            let begun = Instant::now();
            while begun.elapsed() < moment {}
            drop(starting);
        }
        assert!(no_child_stays(), "{engine}");
    });
}

#[test]
fn a_fork_that_drops_a_start_does_not_cancel_it() {
    if !inside("a_fork_that_drops_a_start_does_not_cancel_it", &[]) {
        return;
    }
    each_engine(|engine| {
        let fifo = fifo("start-fork");
        let starting = waits(engine, &fifo).start().unwrap();
        thread::sleep(Duration::from_millis(20));
        let mut starting = Some(starting);
        let code = fork::forked(|| {
            drop(starting.take());
            0
        });
        assert_eq!(code, 0);
        let _end = open_writer(&fifo);
        end(starting.unwrap().wait().unwrap());
    });
}
