//! The feature `tokio`: children of tasks.

mod util;

use std::fs::read_to_string;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use offshoot::tokio::{Child, Command};
use offshoot::{Stdio, Step};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Builder;
use util::clean::refused;
use util::reporter::descriptors;
use util::{alone, has_children, inside, limit, limit_with};

const LONG: Duration = Duration::from_secs(60);

/// Runs a test in one thread.
fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(LONG, test).await.expect("in time")
    })
}

/// Polls a future once; it must not be ready.
fn start(future: impl Future) {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(future.as_mut().poll(&mut cx), Poll::Pending));
}

/// Waits until nothing is left of the children.
async fn nothing_left(open: &[(String, String)]) {
    let begun = Instant::now();
    while has_children() || descriptors().len() > open.len() {
        assert!(begun.elapsed() < LONG, "{:?}", descriptors());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn sleeps() -> Command {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    sleep
}

#[test]
fn the_executor_runs_while_children_do() {
    let _alone = alone();
    block_on(async {
        let ticks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ticks);
        let ticker = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut sh = Command::new("sh");
        sh.args(["-c", "sleep 0.1; exit 7"]);
        let mut child = sh.spawn().unwrap();
        assert!(child.id().is_some() && child.try_wait().unwrap().is_none());
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        assert_eq!(child.id(), None);
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        assert!(ticks.load(Ordering::Relaxed) > 3);
        ticker.abort();
    });
}

#[test]
fn output_lines_and_input_are_read_and_written_by_tasks() {
    let _alone = alone();
    block_on(async {
        // More than both pipes hold.
        let script = "head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2";
        let output = Command::new("sh").args(["-c", script]).output();
        let output = output.await.unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout.len(), 300_000);
        assert_eq!(output.stderr.len(), 200_000);
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        let mut input = cat.stdin.take().unwrap();
        let feeder = tokio::spawn(async move {
            for n in 0..50_000 {
                input.write_all(format!("{n}\n").as_bytes()).await.unwrap();
            }
        });
        let mut lines = BufReader::new(cat.stdout.take().unwrap()).lines();
        let mut count = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            assert_eq!(line, count.to_string());
            count += 1;
        }
        assert_eq!(count, 50_000);
        feeder.await.unwrap();
        assert!(cat.wait().await.unwrap().success());
        // An end of a pipe becomes another program's input.
        let mut echo = Command::new("echo");
        let mut echo = echo.arg("hi").stdout(Stdio::piped()).spawn().unwrap();
        let pipe = echo.stdout.take().unwrap().into_owned_fd().unwrap();
        let output = Command::new("cat").stdin(pipe).output().await.unwrap();
        assert_eq!(output.stdout, b"hi\n");
        assert!(echo.wait().await.unwrap().success());
        assert!(Command::new("true").status().await.unwrap().success());
        let error = Command::new("/no/such").spawn().unwrap_err();
        assert_eq!(error.step(), Step::Exec);
    });
}

#[test]
fn a_future_dropped_at_any_await_loses_nothing() {
    let name = "a_future_dropped_at_any_await_loses_nothing";
    if !inside(name, &[]) {
        return;
    }
    block_on(async {
        let open = descriptors();
        let mut child = sleeps().spawn().unwrap();
        for _ in 0..3 {
            start(child.wait());
            let wait =
                tokio::time::timeout(Duration::from_millis(2), child.wait());
            assert!(wait.await.is_err());
        }
        start(child.kill());
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        drop(child);
        nothing_left(&open).await;
        // These have the child: it is killed and reaped.
        start(sleeps().kill_on_drop(true).status());
        start(sleeps().kill_on_drop(true).output());
        let mut piped = sleeps();
        piped.kill_on_drop(true).stdout(Stdio::piped());
        start(piped.spawn().unwrap().wait_with_output());
        nothing_left(&open).await;
    });
}

#[test]
fn a_dropped_child_is_killed_if_asked_and_always_reaped() {
    let name = "a_dropped_child_is_killed_if_asked_and_always_reaped";
    if !inside(name, &[]) {
        return;
    }
    let reaped = |child: Child, signal: Option<i32>| async move {
        let process = child.process();
        drop(child);
        match signal {
            None => {
                assert_eq!(process.try_wait().unwrap(), None);
                process.signal(libc::SIGTERM).unwrap();
            }
            Some(_) => assert_eq!(signal, Some(libc::SIGKILL)),
        }
        let path = format!("/proc/{}/stat", process.id());
        while read_to_string(&path).is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let expected = signal.or(Some(libc::SIGTERM));
        assert_eq!(process.wait().unwrap().signal(), expected);
    };
    block_on(async {
        let open = descriptors();
        let killed = sleeps().kill_on_drop(true).spawn().unwrap();
        reaped(killed, Some(libc::SIGKILL)).await;
        reaped(sleeps().spawn().unwrap(), None).await;
        nothing_left(&open).await;
    });
    // The runtime ends before the child: a later spawn reaps it.
    let process = block_on(async {
        let mut child = sleeps().kill_on_drop(true).spawn().unwrap();
        start(child.wait());
        child.process()
    });
    let begun = Instant::now();
    while has_children() {
        assert!(begun.elapsed() < LONG);
        offshoot::Command::new("true").status().unwrap();
    }
    assert_eq!(process.wait().unwrap().signal(), Some(9));
}

/// Beside tokio's own, whose handler of SIGCHLD is installed.
#[test]
fn eight_tasks_start_a_hundred_programs_each_beside_tokios_own() {
    let name = "eight_tasks_start_a_hundred_programs_each_beside_tokios_own";
    if !inside(name, &[]) {
        return;
    }
    let open = descriptors().len();
    let mut runtimes =
        [Builder::new_multi_thread(), Builder::new_current_thread()];
    for runtime in &mut runtimes {
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..8)
                .map(|task| {
                    tokio::spawn(async move {
                        for n in 0..100 {
                            let code = (task * 100 + n) % 256;
                            let script = format!("exit {code}");
                            let args = ["-c", &script];
                            let status = match n % 10 {
                                0 => {
                                    let mut theirs =
                                        tokio::process::Command::new("sh");
                                    theirs.args(args).status().await.unwrap()
                                }
                                _ => {
                                    let mut sh = Command::new("sh");
                                    sh.args(args).status().await.unwrap()
                                }
                            };
                            assert_eq!(status.code(), Some(code));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }
    drop(runtimes);
    assert!(!has_children());
    // Tokio's handler of signals has a pair of sockets.
    assert!(descriptors().len() <= open + 2);
}

#[test]
fn without_a_descriptor_for_the_pidfd_a_task_gets_an_error() {
    let name = "without_a_descriptor_for_the_pidfd_a_task_gets_an_error";
    if !inside(name, &[]) {
        return;
    }
    block_on(async {
        limit(libc::RLIMIT_NOFILE, limit_with(0), 4096);
        let spawned = sleeps().spawn();
        limit(libc::RLIMIT_NOFILE, 4096, 4096);
        let error = spawned.unwrap_err();
        refused(&error, Step::Pidfd, None, "no descriptor was free");
        assert!(!has_children());
    });
}

/// Where the kernel has it (Linux 7.1); elsewhere it is an error.
#[test]
fn a_program_that_the_kernel_kills_ends_with_its_child() {
    let name = "a_program_that_the_kernel_kills_ends_with_its_child";
    if !inside(name, &[]) {
        return;
    }
    block_on(async {
        let open = descriptors();
        let mut sleep = sleeps();
        sleep.as_sync_mut().no_new_privs(true).autokill(true);
        let mut child = match sleep.spawn() {
            Ok(child) => child,
            Err(error) => {
                assert_eq!(error.step(), Step::Autokill, "{error}");
                assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
                return;
            }
        };
        child.kill().await.unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
        drop(child);
        let mut seven = Command::new("sh");
        seven.args(["-c", "exit 7"]).as_sync_mut().autoreap(true);
        for _ in 0..20 {
            assert_eq!(seven.status().await.unwrap().code(), Some(7));
        }
        let child = sleep.spawn().unwrap();
        let process = child.process();
        drop(child);
        assert_eq!(process.wait().unwrap().signal(), Some(libc::SIGKILL));
        drop(process);
        nothing_left(&open).await;
    });
}

/// A fork without exec has copies of all handles.
#[test]
fn a_fork_that_drops_a_child_leaves_it_to_its_parent() {
    let _alone = alone();
    block_on(async {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = cat.spawn().unwrap();
        let mut held = Some(child);
        let status = util::fork::forked(|| {
            drop(held.take());
            0
        });
        assert_eq!(status, 0);
        child = held.unwrap();
        drop(child.stdin.take());
        // The parent's runtime still watches it.
        assert!(child.wait().await.unwrap().success());
    });
    assert!(!has_children());
}
