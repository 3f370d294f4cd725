//! Peers: the cases of the suites of `wait-timeout`, `shared_child` and
//! `subprocess` for starting, waiting and signals; those for reading and
//! writing are in `peers_streams.rs`. Each case is written anew, or has a test
//! elsewhere:
//!
//! | case | test |
//! | --- | --- |
//! | wait-timeout: a time that has passed at once | `a_wait_ends_with_its_time_or_with_the_child` |
//! | wait-timeout: the child ends within the time | `a_wait_ends_with_its_time_or_with_the_child` |
//! | wait-timeout: the time passes, then a kill and a wait | `a_wait_ends_with_its_time_or_with_the_child` |
//! | wait-timeout: the time begins when output was read | `a_child_ends_within_the_time_after_its_output_was_taken` |
//! | wait-timeout: exit codes | `a_wait_with_a_time_returns_every_exit_code` |
//! | wait-timeout: several at once, one signal for two ends (unix.rs) | `threads_that_wait_for_different_children_get_their_own` |
//! | shared_child: a wait, and an id above 0 | `the_id_stays_while_the_child_runs_and_after` |
//! | shared_child: a timeout; a deadline | `a_wait_ends_with_its_time_or_with_the_child` |
//! | shared_child: a kill, then a wait | `kill_ends_the_child_and_then_does_nothing` |
//! | shared_child: try_wait until the killed child has ended | `a_status_looked_for_again_and_again_is_found_once_there` |
//! | shared_child: many waiters and a kill | `a_kill_ends_the_waits_of_ten_threads` |
//! | shared_child: a second wait that does not reap | `a_child_looked_at_twice_without_reaping_is_waited_for` |
//! | shared_child: back to a child before the wait, and after | `a_child_and_its_process_give_the_status_to_each_other` |
//! | shared_child: made of a child that ends meanwhile | `a_process_made_late_sees_the_end` |
//! | shared_child: pipes are taken once | `each_pipe_is_taken_once` |
//! | shared_child: wait against try_wait, the child has ended | `a_look_beside_a_wait_never_misses_an_end` |
//! | shared_child: a signal by number, before the end and after | `a_signal_is_sent_by_its_number` |
//! | subprocess: a program that exists; one that does not | `every_exit_code_and_a_signal_are_reported`, `a_spawn_that_fails_is_the_error_of_the_spawn` |
//! | subprocess: no arguments at all | (`Command::new` has a program always) |
//! | subprocess: a NUL byte in the name | `bad_input_is_refused_by_name_before_anything_is_cloned` |
//! | subprocess: a name other than the program's | `arg0_is_what_the_program_sees_as_its_name` |
//! | subprocess: an exit code | `every_exit_code_and_a_signal_are_reported` |
//! | subprocess: statuses checked for success | (`ExitStatus` is that of std) |
//! | subprocess: terminated; killed; which of them | `a_program_is_terminated_or_killed_after_its_grace`, `kill_ends_the_child_and_then_does_nothing` |
//! | subprocess: terminated twice; after its end | `signals_between_the_end_and_the_wait_and_after_are_no_error` |
//! | subprocess: the id, running and ended | `the_id_stays_while_the_child_runs_and_after` |
//! | subprocess: looks at a running and an ended child | `a_status_looked_for_again_and_again_is_found_once_there` |
//! | subprocess: three waits | `every_way_to_wait_returns_the_same_again` |
//! | subprocess: timeouts, of zero, after the end, then terminated | `every_way_to_wait_returns_the_same_again` |
//! | subprocess: the time passes, then it ends by itself | `after_a_time_that_passed_the_next_wait_finds_the_end` |
//! | subprocess: reaped by other code | `what_is_reaped_elsewhere_has_a_status_or_an_error` |
//! | subprocess: a signal by number | `a_signal_is_sent_by_its_number` |
//! | subprocess: a signal to the group | `a_group_is_signalled_and_no_other` |
//! | subprocess: to the group when all of it has ended | `a_signal_to_a_group_that_has_ended_is_as_documented` |
//! | subprocess: detached, a drop does not wait | `a_drop_neither_kills_nor_reaps_by_default`, `a_detached_program_is_no_child_and_leads_a_session` |
//! | subprocess: variables added, several, inherited, replaced | `the_environment_is_the_parents_with_changes_applied` |
//! | subprocess: no variables, one only | `a_cleared_environment_holds_what_was_set_after` |
//! | subprocess: a variable given twice | `of_a_variable_given_twice_the_later_value_counts` |
//! | subprocess: a directory; one that is missing | `the_child_starts_in_the_directory_asked_for`, `a_missing_directory_is_an_error_at_chdir` |
//! | subprocess: a line for the shell, quoted | `a_shell_started_by_name_keeps_quoted_blanks` |
//! | subprocess: shown for humans | `the_shell_line_quotes_any_bytes` |
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Child, Command, Stdio, Step};
use rustix::pipe::{PipeFlags, pipe_with};
use util::clean::assert_error;
use util::each_engine;
use util::no_pidfd::with_and_without;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A shell. What it leaves behind keeps no output of the test open.
fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("exec 2>/dev/null; {script}")]);
    sh
}

/// A shell that exits when its input is closed.
fn until_closed(code: i32) -> (Command, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut sh = sh(&format!("read x; exit {code}"));
    sh.stdin(read);
    (sh, write)
}

/// Returns when the child has ended, and does not reap it.
fn ended(child: &Child) {
    // SAFETY: all zeros is a siginfo_t.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: writes one siginfo_t.
    let waited =
        unsafe { libc::waitid(libc::P_PID, child.id(), &raw mut info, flags) };
    assert_eq!(waited, 0);
}

#[test]
fn a_child_ends_within_the_time_after_its_output_was_taken() {
    let name = "a_child_ends_within_the_time_after_its_output_was_taken";
    with_and_without(name, |spawn| {
        let mut child = sh("echo ready; read x; exit 4");
        child.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(child);
        let mut stdout = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        stdout.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        drop(stdout);
        // The input, which this wait closes, is what it waits for.
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.code(), Some(4));
    });
}

#[test]
fn a_wait_with_a_time_returns_every_exit_code() {
    each_engine(|engine| {
        for code in [0, 1, 2, 127, 128, 255] {
            let mut exit = sh(&format!("exit {code}"));
            let mut exit = exit.engine(engine).spawn().unwrap();
            let status = exit.wait_timeout(LONG).unwrap().unwrap();
            assert_eq!(status.code(), Some(code), "{engine}");
        }
        // The kernel keeps eight bits.
        let mut exit = sh("exit 259");
        let mut exit = exit.engine(engine).spawn().unwrap();
        let until = Instant::now() + LONG;
        let status = exit.wait_deadline(until).unwrap().unwrap();
        assert_eq!(status.code(), Some(3), "{engine}");
    });
}

/// A SIGCHLD can be for many children; here none is counted.
#[test]
fn threads_that_wait_for_different_children_get_their_own() {
    let name = "threads_that_wait_for_different_children_get_their_own";
    with_and_without(name, |spawn| {
        let (read, write) = io::pipe().unwrap();
        let children: Vec<(i32, Child)> = (0..8)
            .map(|code| {
                let mut sh = sh(&format!("read x; exit {code}"));
                sh.stdin(OwnedFd::from(read.try_clone().unwrap()));
                (code, spawn(sh))
            })
            .collect();
        drop(read);
        let passed = &Barrier::new(9);
        thread::scope(|scope| {
            for (code, mut child) in children {
                scope.spawn(move || {
                    assert_eq!(child.wait_timeout(SHORT).unwrap(), None);
                    passed.wait();
                    let status = child.wait_timeout(LONG).unwrap();
                    assert_eq!(status.unwrap().code(), Some(code));
                });
            }
            passed.wait();
            drop(write);
        });
    });
}

#[test]
fn the_id_stays_while_the_child_runs_and_after() {
    let name = "the_id_stays_while_the_child_runs_and_after";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(0);
        let mut child = spawn(shell);
        let id = child.id();
        assert!(id > 1);
        let process = child.process();
        assert_eq!(process.id(), id);
        drop(write);
        assert!(child.wait().unwrap().success());
        assert_eq!((child.id(), process.id()), (id, id));
    });
}

#[test]
fn a_status_looked_for_again_and_again_is_found_once_there() {
    let name = "a_status_looked_for_again_and_again_is_found_once_there";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(0);
        let mut child = spawn(shell);
        let process = child.process();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(process.try_wait().unwrap(), None);
        process.kill().unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = process.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < LONG);
            thread::yield_now();
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        for _ in 0..3 {
            assert_eq!(child.try_wait().unwrap(), Some(status));
            assert_eq!(process.try_wait().unwrap(), Some(status));
        }
        drop(write);
    });
}

#[test]
fn a_kill_ends_the_waits_of_ten_threads() {
    let name = "a_kill_ends_the_waits_of_ten_threads";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(0);
        let mut child = spawn(shell);
        let process = child.process();
        let ready = Barrier::new(11);
        thread::scope(|scope| {
            let wait = || {
                ready.wait();
                process.wait().unwrap()
            };
            let waits = [(); 10].map(|()| scope.spawn(wait));
            ready.wait();
            child.kill().unwrap();
            for waits in waits {
                let status = waits.join().unwrap();
                assert_eq!(status.signal(), Some(libc::SIGKILL));
            }
        });
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        drop(write);
    });
}

#[test]
fn a_child_looked_at_twice_without_reaping_is_waited_for() {
    let name = "a_child_looked_at_twice_without_reaping_is_waited_for";
    with_and_without(name, |spawn| {
        let mut child = spawn(sh("exit 6"));
        ended(&child);
        ended(&child);
        let status = child.try_wait().unwrap().unwrap();
        assert_eq!(status.code(), Some(6));
    });
}

#[test]
fn a_child_and_its_process_give_the_status_to_each_other() {
    let name = "a_child_and_its_process_give_the_status_to_each_other";
    with_and_without(name, |spawn| {
        // The child waits, without the process or after its wait.
        for waits_before in [false, true] {
            let mut child = spawn(sh("exec sleep 1000"));
            let process = child.process();
            process.kill().unwrap();
            if waits_before {
                let status = process.wait().unwrap();
                assert_eq!(status.signal(), Some(libc::SIGKILL));
            }
            drop(process);
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
        // The process waits, when there is no child any more.
        let mut child = spawn(sh("exit 7"));
        let process = child.process();
        drop(child);
        assert_eq!(process.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn a_process_made_late_sees_the_end() {
    let name = "a_process_made_late_sees_the_end";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(5);
        let mut child = spawn(shell);
        assert_eq!(child.process().try_wait().unwrap(), None);
        drop(write);
        ended(&child);
        let zombie = child.process().try_wait().unwrap().unwrap();
        assert_eq!(zombie.code(), Some(5));
        assert_eq!(child.process().wait().unwrap(), zombie);
        assert_eq!(child.wait().unwrap(), zombie);
    });
}

#[test]
fn each_pipe_is_taken_once() {
    each_engine(|engine| {
        let mut program = Command::new("true");
        program.engine(engine).stdin(Stdio::piped());
        program.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().unwrap();
        for there in [true, false] {
            assert_eq!(child.stdin.take().is_some(), there);
            assert_eq!(child.stdout.take().is_some(), there);
            assert_eq!(child.stderr.take().is_some(), there);
        }
        assert!(child.wait().unwrap().success());
    });
}

/// One thread may hold what the other needs, but not for a wait.
#[test]
fn a_look_beside_a_wait_never_misses_an_end() {
    let name = "a_look_beside_a_wait_never_misses_an_end";
    with_and_without(name, |spawn| {
        for _ in 0..100 {
            let mut child = spawn(Command::new("true"));
            ended(&child);
            let process = child.process();
            let both = Barrier::new(2);
            thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    assert!(child.wait().unwrap().success());
                });
                both.wait();
                let status = process.try_wait().unwrap();
                assert!(status.is_some_and(|status| status.success()));
            });
        }
    });
}

#[test]
fn signals_between_the_end_and_the_wait_and_after_are_no_error() {
    let name = "signals_between_the_end_and_the_wait_and_after_are_no_error";
    with_and_without(name, |spawn| {
        let mut child = spawn(sh("exec sleep 1000"));
        child.signal(libc::SIGTERM).unwrap();
        ended(&child);
        // A zombie.
        child.signal(libc::SIGTERM).unwrap();
        child.kill().unwrap();
        let status = child.terminate(LONG).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
        child.signal(libc::SIGTERM).unwrap();
        child.kill().unwrap();
        assert_eq!(child.terminate(Duration::ZERO).unwrap(), status);
    });
}

#[test]
fn every_way_to_wait_returns_the_same_again() {
    let name = "every_way_to_wait_returns_the_same_again";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(42);
        let mut child = spawn(shell);
        assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
        drop(write);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(42));
        let process = child.process();
        let past = Instant::now();
        for _ in 0..2 {
            assert_eq!(child.wait().unwrap(), status);
            assert_eq!(child.wait_timeout(LONG).unwrap(), Some(status));
            let zero = child.wait_timeout(Duration::ZERO).unwrap();
            assert_eq!(zero, Some(status));
            assert_eq!(child.wait_deadline(past).unwrap(), Some(status));
            assert_eq!(process.wait_deadline(past).unwrap(), Some(status));
            assert_eq!(process.wait().unwrap(), status);
        }
    });
}

#[test]
fn after_a_time_that_passed_the_next_wait_finds_the_end() {
    let name = "after_a_time_that_passed_the_next_wait_finds_the_end";
    with_and_without(name, |spawn| {
        let (shell, write) = until_closed(9);
        let mut child = spawn(shell);
        assert_eq!(child.wait_timeout(SHORT).unwrap(), None);
        assert_eq!(child.process().wait_timeout(SHORT).unwrap(), None);
        drop(write);
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.code(), Some(9));
    });
}

/// A success by the pidfd, as in `subprocess`; an error by a number that may
/// be another group's by now.
#[test]
fn a_signal_to_a_group_that_has_ended_is_as_documented() {
    let name = "a_signal_to_a_group_that_has_ended_is_as_documented";
    with_and_without(name, |spawn| {
        let mut leader = Command::new("true");
        leader.process_group(0);
        let mut group = spawn(leader);
        ended(&group);
        // The zombie is a member.
        group.signal_group(libc::SIGTERM).unwrap();
        assert!(group.wait().unwrap().success());
        match group.signal_group(libc::SIGTERM) {
            Ok(()) => assert!(group.pidfd().is_some()),
            // Without a pidfd, or before Linux 6.9.
            Err(error) => {
                assert_error(&error, Step::Kill, None, libc::ESRCH);
                assert!(error.to_string().contains("another group"));
            }
        }
    });
}

#[test]
fn of_a_variable_given_twice_the_later_value_counts() {
    each_engine(|engine| {
        let mut env = Command::new("env");
        env.engine(engine).env_clear();
        env.envs([("A", "1"), ("B", "2"), ("A", "3")]).env("B", "4");
        let text = String::from_utf8(env.output().unwrap().stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=3", "B=4"], "{engine}");
    });
}

#[test]
fn a_shell_started_by_name_keeps_quoted_blanks() {
    let line = "printf '%s|' \"two  blanks\" $#; printf %s \"$0\" >&2";
    each_engine(|engine| {
        let mut sh = Command::new("sh");
        sh.engine(engine).args(["-c", line, "name of it", "x y", ""]);
        let output = sh.output().unwrap();
        assert_eq!(output.stdout, b"two  blanks|2|", "{engine}");
        assert_eq!(output.stderr, b"name of it", "{engine}");
    });
}

#[test]
fn the_cases_of_the_peers_have_the_tests_that_the_tables_name() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| {
        std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()
    });
    let all = files.collect::<Vec<_>>().join("\n");
    let mut cases = 0;
    let tables = [include_str!("peers.rs"), include_str!("peers_streams.rs")];
    let is_peer = |line: &&str| {
        let peers = ["wait-timeout:", "shared_child:", "subprocess:"];
        peers.iter().any(|peer| line.starts_with(&format!("//! | {peer}")))
    };
    for line in tables.iter().flat_map(|table| table.lines()).filter(is_peer) {
        let test = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in test.split(", ").filter(|test| test.starts_with('`')) {
            let test = format!("fn {}() {{", test.trim_matches('`'));
            assert!(all.contains(&test), "{line}");
        }
        cases += 1;
    }
    assert!(cases > 60, "{cases}");
}
