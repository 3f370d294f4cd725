//! The feature `tokio`: programs that start while the executor runs on.

mod util;

use std::fs::{self, File};
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use offshoot::tokio::Command;
use offshoot::{ChildOpenOptions, Stdio, Step};
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::runtime::Builder;
use util::reporter::descriptors;
use util::{alone, has_children, inside, scratch};

const LONG: Duration = Duration::from_secs(60);

/// Runs a test in one thread.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(LONG, test).await.expect("in time")
    })
}

fn fifo(name: &str) -> PathBuf {
    let path = scratch(name).join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

/// A shell that waits before its exec until the FIFO has a writer, and then
/// runs a line.
fn waits(fifo: &PathBuf, line: &str) -> Command {
    let mut waits = Command::new("/bin/sh");
    let read = ChildOpenOptions::new().read(true).clone();
    waits.args(["-c", line]);
    waits.as_sync_mut().open_in_child(9, fifo, &read);
    waits
}

async fn until(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn the_executor_ticks_while_a_hundred_slow_programs_start() {
    let _alone = alone();
    let fifo = fifo("tokio-slow");
    block_on(async {
        let open = descriptors().len();
        let started = Arc::new(AtomicUsize::new(0));
        let tasks = Vec::from_iter((0..100).map(|_| {
            let start = waits(&fifo, "exit 0").spawn_async();
            let started = Arc::clone(&started);
            tokio::spawn(async move {
                let mut child = start.await.unwrap();
                started.fetch_add(1, Ordering::SeqCst);
                child.wait().await.unwrap()
            })
        }));
        // They cannot start before the executor has run on.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(started.load(Ordering::SeqCst), 0);
        let writer = tokio::task::spawn_blocking(move || {
            File::options().write(true).open(fifo).unwrap()
        });
        let writer = writer.await.unwrap();
        for task in tasks {
            assert!(task.await.unwrap().success());
        }
        drop(writer);
        until(|| descriptors().len() <= open).await;
    });
}

#[test]
fn a_program_that_cannot_start_is_an_error_of_the_future() {
    let _alone = alone();
    block_on(async {
        let mut missing = Command::new("/no/such");
        let error = missing.spawn_async().await.unwrap_err();
        assert_eq!(error.step(), Step::Exec);
        let error = missing.output().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = Command::new("a\0b").status().await.unwrap_err();
        assert_eq!(error.step(), Step::Program);
        let mut dies = Command::new("true");
        dies.as_sync_mut().parent_death_signal(libc::SIGTERM);
        let error = dies.output().await.unwrap_err();
        assert_eq!(error.step(), Step::ParentDeathSignal);
    });
}

/// Polls a future so often, and drops it.
fn poll_and_drop(future: impl Future, polls: usize) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        assert!(matches!(future.as_mut().poll(&mut cx), Poll::Pending));
    }
}

#[test]
fn a_start_that_is_dropped_is_killed_if_asked() {
    let name = "a_start_that_is_dropped_is_killed_if_asked";
    if !inside(name, &[]) {
        return;
    }
    block_on(async {
        let open = descriptors().len();
        let fifo = fifo("tokio-killed");
        for n in 0..30 {
            let mut killed = waits(&fifo, "echo not reached; sleep 1000");
            killed.kill_on_drop(true);
            let begun = Instant::now();
            poll_and_drop(killed.spawn_async(), n % 3);
            poll_and_drop(killed.output(), n % 3);
            let start = killed.status();
            tokio::time::sleep(Duration::from_micros(50 * n as u64)).await;
            poll_and_drop(start, n % 3);
            assert!(begun.elapsed() < LONG / 2);
        }
        until(|| !has_children() && descriptors().len() <= open).await;
        // The program runs by the time of the drop.
        for _ in 0..10 {
            let mut sleep = Command::new("sleep");
            let start = sleep.arg("1000").kill_on_drop(true).spawn_async();
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(start);
        }
        until(|| {
            drop(offshoot::Command::new("true").status());
            !has_children() && descriptors().len() <= open
        })
        .await;
    });
}

#[test]
fn a_start_that_is_dropped_goes_on_if_not_asked() {
    let name = "a_start_that_is_dropped_goes_on_if_not_asked";
    if !inside(name, &[]) {
        return;
    }
    block_on(async {
        let open = descriptors().len();
        let fifo = fifo("tokio-goes-on");
        let file = fifo.with_extension("text");
        let line = format!("echo ran >>{}", file.display());
        for polls in 0..3 {
            let mut goes_on = waits(&fifo, &line);
            poll_and_drop(goes_on.spawn_async(), polls);
            goes_on.stdin(Stdio::null());
            poll_and_drop(goes_on.status(), polls);
        }
        let writer = tokio::task::spawn_blocking(move || {
            File::options().write(true).open(fifo).unwrap()
        });
        let _writer = writer.await.unwrap();
        let ran = || fs::read_to_string(&file).unwrap_or_default();
        until(|| ran() == "ran\n".repeat(6)).await;
        // A later spawn reaps them.
        until(|| {
            drop(offshoot::Command::new("true").status());
            !has_children()
        })
        .await;
        // But the writer.
        until(|| descriptors().len() <= open + 1).await;
    });
}
