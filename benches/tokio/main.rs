//! Tokio: programs started by tasks, next to `tokio::process` in the same run.
//!
//! Eight tasks start 500 programs each and wait for them, while another task
//! sleeps for a millisecond again and again: what it sleeps longer is how long
//! the executor was stalled. `cargo bench -p offshoot-bench-tokio`.

use std::env;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

const TASKS: usize = 8;

/// How the programs are started.
#[derive(Clone, Copy)]
enum How {
    Tokio,
    Spawn,
    Async,
}

const ALL: [(&str, How); 3] = [
    ("tokio::process", How::Tokio),
    ("spawn", How::Spawn),
    ("spawn_async", How::Async),
];

async fn run_one(how: How) {
    const PROGRAM: &str = "/bin/true";
    let success = match how {
        How::Tokio => {
            let mut command = tokio::process::Command::new(PROGRAM);
            let mut child = command.stdin(Stdio::null()).spawn().unwrap();
            child.wait().await.unwrap().success()
        }
        How::Spawn => {
            let mut command = offshoot::tokio::Command::new(PROGRAM);
            command.stdin(offshoot::Stdio::null());
            let mut child = command.spawn().unwrap();
            child.wait().await.unwrap().success()
        }
        How::Async => {
            let mut command = offshoot::tokio::Command::new(PROGRAM);
            command.stdin(offshoot::Stdio::null());
            let mut child = command.spawn_async().await.unwrap();
            child.wait().await.unwrap().success()
        }
    };
    assert!(success);
}

/// Returns how long all took, and the longest stall.
async fn run(how: How, each: usize) -> (Duration, Duration) {
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let ticker = tokio::spawn(async move {
        let pause = Duration::from_millis(1);
        let mut longest = Duration::ZERO;
        while !done.load(Ordering::Relaxed) {
            let begun = Instant::now();
            tokio::time::sleep(pause).await;
            longest = longest.max(begun.elapsed().saturating_sub(pause));
        }
        longest
    });
    let begun = Instant::now();
    let tasks = (0..TASKS).map(|_| {
        tokio::spawn(async move {
            for _ in 0..each {
                run_one(how).await;
            }
        })
    });
    for task in Vec::from_iter(tasks) {
        task.await.unwrap();
    }
    let time = begun.elapsed();
    is_done.store(true, Ordering::Relaxed);
    (time, ticker.await.unwrap())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn table(name: &str, runtime: &Runtime, rounds: usize, each: usize) {
    let mut times = ALL.map(|_| (Vec::new(), Vec::new()));
    for round in 0..rounds {
        for at in 0..ALL.len() {
            let at = (at + round) % ALL.len();
            let (time, stall) = runtime.block_on(async move {
                tokio::spawn(run(ALL[at].1, each)).await.unwrap()
            });
            times[at].0.push(time);
            times[at].1.push(stall);
        }
    }
    println!("\n{name}: {TASKS} tasks, {each} programs each");
    let medians = times.map(|(time, stall)| (median(time), median(stall)));
    for ((how, _), (time, stall)) in ALL.iter().zip(medians) {
        let rate = medians[0].0.as_secs_f64() / time.as_secs_f64();
        println!(
            "{how:<16} {rate:>6.2} x the rate   longest stall {:>6.2} ms",
            stall.as_secs_f64() * 1e3
        );
    }
}

fn main() {
    let test = env::args().any(|arg| arg == "--test");
    let (rounds, each) = if test { (1, 5) } else { (5, 500) };
    let one = Builder::new_current_thread().enable_all().build().unwrap();
    table("one thread", &one, rounds, each);
    drop(one);
    let mut two = Builder::new_multi_thread();
    let two = two.worker_threads(2).enable_all().build().unwrap();
    table("two workers", &two, rounds, each);
}
