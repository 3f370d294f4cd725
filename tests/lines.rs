//! Lines of a child's outputs, passed to a function as they arrive; merged
//! outputs; text.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use std::{fs, thread};

use offshoot::OutputStream::{Stderr, Stdout};
use offshoot::{
    Child, Command, Limits, OutputLimit, OutputStream, OutputText, Stdio, Step,
};
use util::clean::command;
use util::no_pidfd::without_pidfd;
use util::{each_engine, inside};

const LONG: Duration = Duration::from_secs(60);

fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]).stdin(Stdio::piped());
    sh.stdout(Stdio::piped()).stderr(Stdio::piped());
    sh
}

/// All lines of an output.
fn lines(child: &mut Child) -> Vec<(OutputStream, Vec<u8>)> {
    let mut all = Vec::new();
    let status = child.stream_lines(|which, line| {
        all.push((which, line.to_vec()));
        Ok(())
    });
    assert!(status.unwrap().success());
    all
}

#[test]
fn lines_are_passed_from_both_outputs_in_every_engine() {
    let script = "echo one; echo two >&2; echo; printf 'three\\r\\n'; \
                  printf 'fo\\377ur' >&2";
    each_engine(|engine| {
        let mut sh = command("/bin/sh", engine);
        sh.args(["-c", script]).stdin(Stdio::piped());
        sh.stdout(Stdio::piped()).stderr(Stdio::piped());
        let all = lines(&mut sh.spawn().unwrap());
        let of = |stream| {
            let own = all.iter().filter(move |line| line.0 == stream);
            own.map(|line| line.1.as_slice()).collect::<Vec<_>>()
        };
        assert_eq!(of(Stdout), [&b"one"[..], b"", b"three\r"]);
        assert_eq!(of(Stderr), [&b"two"[..], b"fo\xffur"]);
        // Merged, they keep their order.
        let all = lines(&mut sh.stderr(Stdio::same_as(1)).spawn().unwrap());
        let words: [&[u8]; 5] = [b"one", b"two", b"", b"three\r", b"fo\xffur"];
        assert_eq!(all, words.map(|word| (Stdout, word.to_vec())));
    });
}

/// Each part is written when the one before has arrived.
#[test]
fn a_line_is_passed_when_it_is_complete_however_it_arrives() {
    let (read, mut write) = io::pipe().unwrap();
    let mut cat = Command::new("cat");
    cat.stdin(OwnedFd::from(read)).stdout(Stdio::piped());
    let mut child = cat.spawn().unwrap();
    // It fits into the pipe, as nothing is read while the function runs.
    let long = vec![b'x'; 50_000];
    let mut parts =
        [&b"se"[..], b"co", b"nd\nthird\nfou", b"rth\n", &long].into_iter();
    let mut seen = Vec::new();
    write.write_all(b"first\n").unwrap();
    let mut write = Some(write);
    let status = child.stream_lines(|which, line| {
        assert_eq!(which, Stdout);
        seen.push(line.to_vec());
        if line == b"fourth" || line == b"first" {
            // The line is here, though the next has only begun.
            for part in parts.by_ref() {
                write.as_mut().unwrap().write_all(part)?;
                if part.starts_with(b"rth") {
                    return Ok(());
                }
            }
            drop(write.take());
        }
        Ok(())
    });
    assert!(status.unwrap().success());
    let words: [&[u8]; 5] = [b"first", b"second", b"third", b"fourth", &long];
    assert_eq!(seen, words);
}

#[test]
fn many_short_lines_are_all_passed() {
    let mut seq = Command::new("seq");
    seq.arg("300000").stdout(Stdio::piped());
    let mut next = 1;
    let status = seq.spawn().unwrap().stream_lines(|_, line| {
        assert_eq!(line, next.to_string().as_bytes());
        next += 1;
        Ok(())
    });
    assert!(status.unwrap().success() && next == 300_001);
}

#[test]
fn an_error_of_the_function_kills_the_child_and_keeps_the_rest() {
    let mut calls = 0;
    let mut child = sh("printf '1\\n2\\n3\\n4'; exec sleep 1000");
    let mut child = child.spawn().unwrap();
    let error = child.stream_lines(|_, line| {
        calls += 1;
        let stop = || io::Error::new(ErrorKind::StorageFull, "enough");
        if line == b"2" { Err(stop()) } else { Ok(()) }
    });
    let error = error.unwrap_err();
    assert_eq!(calls, 2);
    assert_eq!(error.error().step(), Step::StreamLines);
    assert_eq!(error.error().kind(), ErrorKind::StorageFull);
    let text = "stream_lines: enough; the child was killed";
    assert_eq!(error.to_string(), text);
    assert!(error.killed() && error.limit().is_none());
    assert_eq!(error.status().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(error.stdout(), b"3\n4");
    assert!(child.try_wait().unwrap().is_some());
}

#[test]
fn a_line_that_is_too_long_is_an_error_that_keeps_its_beginning() {
    let limits = Limits::new().line_bytes(5);
    let mut seen = Vec::new();
    let mut stream = |script: &str| {
        seen.clear();
        let mut child = sh(script).spawn().unwrap();
        let done = child.stream_lines_with(limits, |_, line| {
            seen.push(line.to_vec());
            Ok(())
        });
        (done, seen.clone())
    };
    let (done, all) = stream("printf '12345\\n12345\\n\\n12345'");
    assert!(done.unwrap().success());
    assert_eq!(all, [&b"12345"[..], b"12345", b"", b"12345"]);
    // With an end, without one, and without end.
    for script in [
        "echo 1; echo 123456",
        "printf '1\\n123456'",
        "echo 1; exec cat /dev/zero",
    ] {
        let (done, all) = stream(script);
        let error = done.unwrap_err();
        assert_eq!(error.limit(), Some(OutputLimit::LineBytes), "{script}");
        assert!(error.to_string().contains("the limit of 5 bytes"));
        assert_eq!(all, [b"1"]);
        assert!(error.stdout().len() > 5);
    }
}

#[test]
fn a_limit_of_all_bytes_ends_the_lines() {
    let limits = Limits::new().bytes(1001);
    let mut calls = 0;
    let mut yes = Command::new("yes");
    let error = yes.stream_lines_with(limits, |which, line| {
        assert_eq!((which, line), (Stdout, &b"y"[..]));
        calls += 1;
        Ok(())
    });
    let error = error.unwrap_err();
    assert_eq!(error.limit(), Some(OutputLimit::Bytes));
    assert_eq!((calls, error.stdout()), (500, &b"y"[..]));
}

#[test]
fn lines_have_a_deadline_and_a_grace() {
    let name = "lines_have_a_deadline_and_a_grace";
    if !inside(name, &[]) {
        return;
    }
    for spawn in [
        |mut command: Command| command.spawn().unwrap(),
        |mut command| without_pidfd(&mut command),
    ] {
        let short = Limits::new().timeout(Duration::from_millis(50));
        let child = sh("printf 'abc'; exec sleep 1000");
        let error = spawn(child).stream_lines_with(short, |_, _| Ok(()));
        let error = error.unwrap_err();
        assert_eq!(error.limit(), Some(OutputLimit::Deadline));
        assert!(error.killed());
        let (hold, write) = io::pipe().unwrap();
        let mut child = sh("(read x <&9) & printf 'abc\\nrest'; exit 3");
        child.fd(9, OwnedFd::from(hold));
        let grace = Limits::new().grace_after_exit(Duration::ZERO);
        let begun = Instant::now();
        let mut all = Vec::new();
        let status = spawn(child).stream_lines_with(grace, |_, line| {
            all.push(line.to_vec());
            Ok(())
        });
        assert!(begun.elapsed() < LONG);
        assert_eq!(status.unwrap().code(), Some(3));
        // What has no newline is passed too, as more is not read.
        assert_eq!(all, [&b"abc"[..], b"rest"]);
        drop(write);
    }
}

#[test]
fn merged_output_has_the_order_in_which_it_was_written() {
    let script = "i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); \
                  echo $i >&2; i=$((i+1)); done";
    let expected: String = (0..500).map(|n| format!("{n}\n")).collect();
    each_engine(|engine| {
        let mut sh = command("/bin/sh", engine);
        let output = sh.args(["-c", script]).output_merged().unwrap();
        assert_eq!(output.stdout_lossy(), expected);
        assert!(output.stderr.is_empty());
        let limits = Limits::new().bytes(expected.len() as u64);
        let output = sh.stderr(Stdio::same_as(1)).output_with(limits);
        assert_eq!(output.unwrap().stdout_lossy(), expected);
    });
}

#[test]
fn text_that_is_not_utf8_is_replaced() {
    let mut sh = sh("printf 'a\\377b'; printf '\\300' >&2");
    let output = sh.spawn().unwrap().communicate("").unwrap();
    assert_eq!(output.stdout_lossy(), "a\u{fffd}b");
    assert_eq!(output.stderr_lossy(), "\u{fffd}");
    let limits = Limits::new().bytes(2);
    let error = sh.output_with(limits).unwrap_err();
    let all = error.stdout_lossy().len() + error.stderr_lossy().len();
    assert!(all > 2);
}

#[test]
fn a_function_that_panics_leaves_no_program() {
    let mut sleep = sh("echo $$; exec sleep 1000");
    let mut id = 0;
    let lines = |_, line: &[u8]| {
        id = str::from_utf8(line).unwrap().parse().unwrap();
        panic!("the function");
    };
    let call = AssertUnwindSafe(|| sleep.stream_lines(lines));
    assert!(catch_unwind(call).is_err());
    assert!(id > 1);
    // Killed, and perhaps not reaped yet.
    let begun = Instant::now();
    let status = format!("/proc/{id}/stat");
    while fs::read_to_string(&status).is_ok_and(|s| !s.contains(") Z ")) {
        assert!(begun.elapsed() < LONG, "the program runs");
        thread::yield_now();
    }
}
