//! The example `timeout`, beside coreutils' own.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

#[path = "../examples/timeout.rs"]
mod example;
mod util;

use std::ffi::OsString;
use std::io::Read;
use std::process::exit;
use std::time::{Duration, Instant};
use std::{env, fs};

use offshoot::{Child, Command, SignalSet, Stdio};
use util::{alone, inside, own_pids};

const ARGS: &str = "OFFSHOOT_TIMEOUT";

/// In the process that `start` has made, runs the example and exits.
fn run_if_asked() {
    if let Ok(args) = env::var(ARGS) {
        exit(example::timeout(args.split('\x1F').map(OsString::from)));
    }
}

/// The example as a program of its own. It gets signals by a descriptor, so
/// they are blocked in all its threads.
fn start(test: &str, args: &[&str]) -> Child {
    let mut mask = SignalSet::empty();
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        mask.add(signal);
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(ARGS, args.join("\x1F")).signal_mask(mask);
    // A background job of a shell ignores SIGINT, and what it starts too.
    command.reset_signals();
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Its exit status, and what it and the program wrote.
fn ours(test: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = start(test, args).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

/// As a shell tells it.
fn coreutils(args: &[&str]) -> Option<i32> {
    let script = "timeout \"$@\" 2>/dev/null; exit $?";
    let mut sh = std::process::Command::new("sh");
    let output = sh.args(["-c", script, "sh"]).args(args).output();
    output.unwrap().status.code()
}

#[test]
fn the_exit_status_is_that_of_coreutils() {
    let name = "the_exit_status_is_that_of_coreutils";
    run_if_asked();
    if !inside_own_pids(name) {
        return;
    }
    let dir = util::scratch("timeout");
    let file = dir.join("no-program");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let ignores = "trap '' TERM; sleep 2; sleep 2; sleep 2";
    let cases: [(&[&str], i32); 10] = [
        (&["60", "sh", "-c", "exit 7"], 7),
        (&["0", "true"], 0),
        (&["60", "sh", "-c", "kill -USR1 $$"], 128 + libc::SIGUSR1),
        (&["0.1", "sleep", "60"], 124),
        (&["-s", "INT", "0.1s", "sleep", "60"], 124),
        (&["-s", "KILL", "0.1", "sleep", "60"], 137),
        (&["-k", "0.1", "0.1", "sh", "-c", ignores], 137),
        (&["60", "/no/such/program"], 127),
        (&["60", file], 126),
        (&["-s", "NONE", "60", "true"], 125),
    ];
    let has_coreutils = std::process::Command::new("timeout")
        .arg("--version")
        .output()
        .is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("GNU"));
    for (args, want) in cases {
        let (status, text) = ours(name, args);
        assert_eq!(status, Some(want), "{args:?}: {text}");
        if has_coreutils {
            assert_eq!(coreutils(args), Some(want), "coreutils: {args:?}");
        }
    }
    let preserved = ["--preserve-status", "0.1", "sleep", "60"];
    assert_eq!(ours(name, &preserved).0, Some(128 + libc::SIGTERM));
}

fn inside_own_pids(test: &str) -> bool {
    let _alone = alone();
    inside(test, &own_pids())
}

/// The end of the output shows that no process has it any more.
#[test]
fn a_timeout_leaves_no_process() {
    let name = "a_timeout_leaves_no_process";
    run_if_asked();
    if !inside_own_pids(name) {
        return;
    }
    let script = "trap '' TERM; (sleep 1000 & sleep 1000) & sleep 1000 &
        (trap '' TERM; echo 1; while :; do sleep 1000; done)";
    let begun = Instant::now();
    let (status, text) =
        ours(name, &["-v", "-k", "0.1", "0.2", "sh", "-c", script]);
    assert_eq!(status, Some(137), "{text}");
    assert!(text.contains("Complete") || text.contains("BestEffort"));
    assert!(begun.elapsed() < Duration::from_secs(500));
    // The program ends at SIGTERM, what it has started does not.
    let script = "(trap '' TERM; while :; do sleep 1000; done) & sleep 1000";
    let (status, text) = ours(name, &["-v", "0.2", "sh", "-c", script]);
    assert_eq!(status, Some(124), "{text}");
}

#[test]
fn a_signal_to_timeout_is_passed_on() {
    let name = "a_signal_to_timeout_is_passed_on";
    run_if_asked();
    if !inside_own_pids(name) {
        return;
    }
    let script = "trap 'exit 9' INT; echo @; while :; do sleep 0.01; done";
    let mut child = start(name, &["60", "sh", "-c", script]);
    let mut out = child.stdout.take().unwrap();
    let mut byte = [0];
    while byte != *b"@" {
        out.read_exact(&mut byte).unwrap();
    }
    // libtest has written no such byte before.
    child.signal(libc::SIGINT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(9), "{status}");
}
