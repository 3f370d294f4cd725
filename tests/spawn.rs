//! Spawn: arguments, environment, descriptors and signals of a child, and its
//! exit status, in every engine.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use offshoot::{CloneFlags, Command, Engine, Error, Stdio, Step};
use util::reporter::Report;
use util::{each_engine, inheritable, report, reporter_with, scratch};

#[test]
fn the_requested_engine_runs() {
    each_engine(|engine| {
        let mut child =
            reporter_with(engine).stdout(Stdio::null()).spawn().unwrap();
        let launch = child.launch().clone();
        assert_eq!(launch.engine(), engine);
        // The isolated engine shares memory up to the exec of the helper.
        let own = [Engine::Copied, Engine::Pipe];
        let shared = !own.contains(&engine);
        let flags = launch.flags();
        assert_eq!(flags.contains(CloneFlags::VM), shared);
        assert_eq!(flags.contains(CloneFlags::FILES), shared);
        let own = CloneFlags::PIDFD | CloneFlags::CLEAR_SIGHAND;
        assert_eq!(flags.contains(own), engine != Engine::Pipe);
        assert_eq!(launch.confirmed(), engine != Engine::Pipe);
        let call = if engine == Engine::Pipe { "clone" } else { "clone3" };
        assert_eq!(launch.call(), call);
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn arguments_are_passed_unchanged() {
    each_engine(|engine| {
        let words = ["two words", "*", "$HOME", "ünï", "\\", "'"];
        let report = report(reporter_with(engine).args(words));
        assert_eq!(report.all("arg")[3..], words);
    });
}

#[test]
fn ten_thousand_arguments_are_passed() {
    each_engine(|engine| {
        let words: Vec<String> = (0..10_000).map(|n| format!("{n}")).collect();
        let report = report(reporter_with(engine).args(&words));
        assert_eq!(report.all("arg")[3..], words);
    });
}

#[test]
fn the_environment_is_the_parents_with_changes_applied() {
    each_engine(|engine| {
        let own: Vec<String> = std::env::vars()
            .filter(|(key, _)| !matches!(key.as_str(), "HOME" | "A" | "PATH"))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut command = reporter_with(engine);
        command.env("A", "1").env("A", "").env("PATH", "/x");
        let report = report(command.env_remove("HOME"));
        let mut want = own;
        want.extend(["A=".into(), "PATH=/x".into()]);
        want.sort();
        let mut seen = report.all("env");
        seen.sort_unstable();
        assert_eq!(seen, want);
    });
}

#[test]
fn a_cleared_environment_holds_what_was_set_after() {
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        command.env("GONE", "1").env_clear().envs([("B", "2"), ("A", "1=")]);
        assert_eq!(report(&mut command).all("env"), ["A=1=", "B=2"]);
    });
}

#[test]
fn the_child_starts_in_the_directory_asked_for() {
    each_engine(|engine| {
        let dir = scratch("cwd").canonicalize().unwrap();
        let report = report(reporter_with(engine).current_dir(&dir));
        assert_eq!(report.one("cwd"), dir.to_str().unwrap());
        fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn a_relative_program_is_looked_up_from_the_childs_directory() {
    each_engine(|engine| {
        let mut command = Command::new("./sh");
        command.args(["-c", "exit 7"]).current_dir("/bin").engine(engine);
        assert_eq!(command.status().unwrap().code(), Some(7));
    });
}

#[test]
fn a_bare_name_is_searched_in_the_childs_path() {
    each_engine(|engine| {
        let dir = scratch("path");
        util::program(&dir.join("offshoot-x"), b"#!/bin/sh\nexit 9\n");
        let path = format!("/nonexistent::relative:{}", dir.display());
        let mut command = Command::new("offshoot-x");
        command.env("PATH", path).engine(engine);
        assert_eq!(command.status().unwrap().code(), Some(9));
        fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn nothing_unlisted_is_inherited() {
    each_engine(|engine| {
        let file = File::open("/dev/null").unwrap();
        let leak = |n| inheritable(&file, n * 3);
        let _leaky: Vec<OwnedFd> = (0..40).map(leak).collect();
        let report = report(&mut reporter_with(engine));
        assert_eq!(report.fds(), [0, 1, 2], "{report:?}");
    });
}

#[test]
fn the_three_standard_descriptors_can_be_anything() {
    each_engine(|engine| {
        let dir = scratch("stdio");
        let path = dir.join("in");
        fs::write(&path, "from a file\n").unwrap();
        let mut errors = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(dir.join("err"))
            .unwrap();
        let output = Command::new("sh")
            .args(["-c", "cat; echo bad >&2"])
            .stdin(Stdio::open(&path, OpenOptions::new().read(true)))
            .stderr(errors.try_clone().unwrap())
            .engine(engine)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"from a file\n");
        assert_eq!(output.stderr, b"");
        let mut text = String::new();
        errors.rewind().unwrap();
        errors.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bad\n");
        fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn null_stdin_is_empty_and_null_stdout_discards() {
    each_engine(|engine| {
        let status = Command::new("sh")
            .args(["-c", "echo lost; ! read line"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .engine(engine)
            .status()
            .unwrap();
        assert!(status.success());
    });
}

#[test]
fn a_child_can_be_written_to_and_read_from() {
    each_engine(|engine| {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .engine(engine)
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"through").unwrap();
        assert!(child.try_wait().unwrap().is_none());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"through");
    });
}

#[test]
fn full_pipes_never_deadlock() {
    each_engine(|engine| {
        let script = "i=0; while [ $i -lt 3000 ]; do \
             echo 0123456789012345678901234567890123456789012345678901234567; \
             echo 0123456789012345678901234567890123456789012345678901234567 \
             >&2; i=$((i+1)); done; exit 3";
        let output =
            Command::new("sh").args(["-c", script]).engine(engine).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout.len(), 3000 * 59);
        assert_eq!(output.stderr.len(), 3000 * 59);
    });
}

#[test]
fn wait_closes_stdin_so_that_the_child_can_end() {
    each_engine(|engine| {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).engine(engine);
        let mut child = command.spawn().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(child.wait().unwrap().success(), "and again");
        assert!(child.try_wait().unwrap().unwrap().success());
    });
}

#[test]
fn every_exit_code_and_a_signal_are_reported() {
    each_engine(|engine| {
        for code in [0, 1, 2, 126, 127, 128, 255] {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exit {code}")]).engine(engine);
            assert_eq!(command.status().unwrap().code(), Some(code));
        }
        let mut command = Command::new("sh");
        command.args(["-c", "kill -TERM $$"]).engine(engine);
        assert_eq!(command.status().unwrap().signal(), Some(15));
    });
}

#[test]
fn kill_ends_the_child_and_then_does_nothing() {
    each_engine(|engine| {
        let mut command = Command::new("sleep");
        let mut child = command.arg("60").engine(engine).spawn().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        child.kill().unwrap();
    });
}

#[test]
fn sigpipe_is_at_its_default_and_handlers_are_gone() {
    each_engine(|engine| {
        extern "C" fn handler(_: libc::c_int) {}
        let handler = handler as extern "C" fn(libc::c_int);
        // SAFETY: a handler that does nothing, for a signal that is not sent.
        unsafe { libc::signal(libc::SIGURG, handler as usize) };
        // SAFETY: ignores a signal that is not sent.
        unsafe { libc::signal(libc::SIGWINCH, libc::SIG_IGN) };
        let report = report(&mut reporter_with(engine));
        let hex = |key| u64::from_str_radix(report.one(key), 16).unwrap();
        let bit = |signal: i32| 1u64 << (signal - 1);
        assert_eq!(hex("SigCgt"), 0);
        assert_eq!(hex("SigIgn") & bit(libc::SIGPIPE), 0);
        assert_ne!(hex("SigIgn") & bit(libc::SIGWINCH), 0, "kept as ignored");
    });
}

#[test]
fn the_signal_mask_is_the_calling_threads() {
    each_engine(|engine| {
        let run = move || {
            // SAFETY: all zeros is a signal set.
            let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
            // SAFETY: adds a signal to a set of this frame.
            unsafe { libc::sigaddset(&mut set, libc::SIGUSR2) };
            let none = std::ptr::null_mut();
            // SAFETY: blocks a signal in this thread, from that set.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &set, none) };
            report(&mut reporter_with(engine)).one("SigBlk").to_string()
        };
        let seen = std::thread::spawn(run).join().unwrap();
        let seen = u64::from_str_radix(&seen, 16).unwrap();
        assert_eq!(seen, 1 << (libc::SIGUSR2 - 1));
    });
}

#[test]
fn a_script_runs_and_its_name_is_its_own() {
    each_engine(|engine| {
        let dir = scratch("script");
        let path = dir.join("script");
        util::program(&path, b"#!/bin/sh\necho \"$0\" \"$1\"\n");
        let mut command = Command::new(&path);
        let output = command.arg("x").engine(engine).output().unwrap();
        let want = format!("{} x\n", path.display());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), want);
        fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn a_prepared_command_spawns_repeatedly() -> Result<(), Error> {
    for engine in util::ENGINES {
        let mut command = Command::new("echo");
        command.arg("hi").stdout(Stdio::piped()).engine(engine);
        let prepared = command.prepare()?;
        drop(command);
        for _ in 0..5 {
            let output = prepared.spawn()?.wait_with_output()?;
            assert_eq!(output.stdout, b"hi\n");
        }
    }
    Ok(())
}

/// 0 and 1 are passed by value and exchanged, in a new process, where no other
/// code uses them.
#[test]
fn standard_descriptors_given_by_value_trade_places() {
    let name = "standard_descriptors_given_by_value_trade_places";
    if !util::inside(name, &[]) {
        return;
    }
    each_engine(|engine| {
        // SAFETY: 0 stays open, as the command that owns it is forgotten below.
        let zero = unsafe { OwnedFd::from_raw_fd(0) };
        // SAFETY: as above.
        let one = unsafe { OwnedFd::from_raw_fd(1) };
        let path = scratch("cross").join("report");
        let seen = util::reporter::descriptors();
        assert_ne!(seen[0].1, seen[1].1);
        let exe = std::env::current_exe().unwrap();
        let mut command = Command::new(exe);
        command.arg(util::reporter::ASK).arg(&path).engine(engine);
        command.stdin(one).stdout(zero);
        assert!(command.status().unwrap().success());
        let report = Report::parse(&fs::read(&path).unwrap());
        let target = |n: usize| format!("{n} {}", seen[1 - n].1);
        assert_eq!(report.all("fd")[..2], [target(0), target(1)]);
        std::mem::forget(command);
    });
}

#[test]
fn a_missing_directory_is_an_error_at_chdir() {
    each_engine(|engine| {
        let mut command = reporter_with(engine);
        let error = command.current_dir("/nope").spawn().unwrap_err();
        assert_eq!(error.step(), Step::Chdir);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    });
}
