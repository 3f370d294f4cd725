//! Failures: each step that can fail is named exactly, in every engine, and
//! leaves nothing behind: no child, open descriptor, changed mask or dumpable
//! flag, and no SIGCHLD.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use offshoot::{Command, Engine, Error, Stdio, Step};
use util::clean::{assert_error, clean, command, spawn};
use util::filter::{self, Action};
use util::{alone, each_engine, program, scratch};

#[test]
fn a_program_that_cannot_be_run_is_named_with_its_errno() {
    let _alone = alone();
    let dir = scratch("programs");
    let at = |name: &str| dir.join(name).to_str().unwrap().to_string();
    fs::write(at("data"), b"\x00\x01").unwrap();
    program(&dir.join("garbage"), b"neither #! nor ELF\n");
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    let cases = [
        (at("missing"), libc::ENOENT),
        (at("data/below"), libc::ENOTDIR),
        (at("data"), libc::EACCES),
        (at("."), libc::EACCES),
        (at("garbage"), libc::ENOEXEC),
        (at("loop"), libc::ELOOP),
        (at(&"x".repeat(300)), libc::ENAMETOOLONG),
    ];
    each_engine(|engine| {
        for (path, errno) in &cases {
            let error = clean(spawn(command(path, engine)));
            assert_error(&error, Step::Exec, Some(path), *errno);
            assert_eq!(error.candidates().len(), 1);
            let tried = &error.candidates()[0];
            assert_eq!(tried.path(), Path::new(path));
            assert_eq!(tried.raw_os_error(), Some(*errno));
        }
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_bare_name_lists_every_file_that_was_tried() {
    let _alone = alone();
    let dir = scratch("search");
    fs::write(dir.join("offshoot-x"), b"").unwrap();
    each_engine(|engine| {
        let mut missing = command("offshoot-x", engine);
        missing.env("PATH", "/bin:/nope/dir:/dev/null");
        let error = clean(spawn(missing));
        assert_error(&error, Step::Exec, Some("offshoot-x"), libc::ENOTDIR);
        let tried: Vec<_> = error
            .candidates()
            .iter()
            .map(|c| (c.path().to_str().unwrap(), c.raw_os_error()))
            .collect();
        let want = [
            ("/bin/offshoot-x", Some(libc::ENOENT)),
            ("/nope/dir/offshoot-x", Some(libc::ENOENT)),
            ("/dev/null/offshoot-x", Some(libc::ENOTDIR)),
        ];
        assert_eq!(tried, want);
        let nowhere = "no directory that was searched has it";
        assert!(error.to_string().ends_with(nowhere), "{error}");

        let mut denied = command("offshoot-x", engine);
        denied.env("PATH", format!("/bin:{}:/nope", dir.display()));
        let error = clean(spawn(denied));
        assert_error(&error, Step::Exec, Some("offshoot-x"), libc::EACCES);

        let mut nowhere = command("offshoot-x", engine);
        nowhere.env("PATH", "relative::.");
        let error = clean(spawn(nowhere));
        assert_error(&error, Step::Exec, Some("offshoot-x"), libc::ENOENT);
        assert!(error.candidates().is_empty());
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_path_with_over_64_entries_is_searched_to_its_end() {
    let _alone = alone();
    let dir = scratch("long");
    fs::write(dir.join("offshoot-x"), b"").unwrap();
    let mut path = format!("{}:", dir.display());
    (0..200).for_each(|n| path += &format!("/nope/{n}:"));
    each_engine(|engine| {
        let mut denied = command("offshoot-x", engine);
        denied.env("PATH", &path);
        let error = clean(spawn(denied));
        assert_error(&error, Step::Exec, Some("offshoot-x"), libc::EACCES);
        assert_eq!(error.candidates().len(), 201);
        let with_errno =
            error.candidates().iter().filter_map(|c| c.raw_os_error());
        assert_eq!(with_errno.count(), 64);

        program(&dir.join("offshoot-y"), b"#!/bin/sh\nexit 4\n");
        let mut found = command("offshoot-y", engine);
        found.env("PATH", format!("{path}{}", dir.display()));
        assert_eq!(found.status().unwrap().code(), Some(4));
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_missing_interpreter_is_not_taken_for_a_missing_program() {
    let _alone = alone();
    let dir = scratch("interpreter");
    let script = dir.join("script");
    program(&script, b"#! /nope/sh -e\ntrue\n");
    let outer = dir.join("outer");
    program(&outer, format!("#!{}\n", script.display()).as_bytes());
    let mut elf = fs::read(std::env::current_exe().unwrap()).unwrap();
    let at = memchr::memmem::find(&elf, b"/ld-linux").unwrap();
    elf[at + 1] = b'X';
    program(&dir.join("elf"), &elf);
    each_engine(|engine| {
        for path in [&script, &outer] {
            let error = clean(spawn(command(path, engine)));
            assert_error(
                &error,
                Step::Interpreter,
                Some("/nope/sh"),
                libc::ENOENT,
            );
            assert_eq!(error.candidates()[0].path(), path);
        }
        let mut relative = command("./script", engine);
        relative.current_dir(&dir);
        let error = clean(spawn(relative));
        assert_error(
            &error,
            Step::Interpreter,
            Some("/nope/sh"),
            libc::ENOENT,
        );

        let error = clean(spawn(command(dir.join("elf"), engine)));
        assert_eq!(error.step(), Step::Interpreter);
        let loader = error.operand().unwrap().to_str().unwrap();
        assert!(loader.contains("/Xd-linux"), "{loader}");
    });
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_directory_that_cannot_be_entered_is_named() {
    let _alone = alone();
    each_engine(|engine| {
        for (dir, errno) in
            [("/nope", libc::ENOENT), ("/dev/null", libc::ENOTDIR)]
        {
            let mut command = command("/bin/true", engine);
            command.current_dir(dir);
            assert_error(
                &clean(spawn(command)),
                Step::Chdir,
                Some(dir),
                errno,
            );
        }
    });
}

#[test]
fn a_path_for_a_standard_descriptor_is_named_with_its_option() {
    let _alone = alone();
    each_engine(|engine| {
        let open = |write: bool| {
            let mut options = OpenOptions::new();
            options.read(!write).write(write);
            Stdio::open("/nope/file", &options)
        };
        let make = || command("/bin/true", engine);
        let mut case = make();
        case.stdin(open(false)).stdout(Stdio::piped());
        let file = Some("/nope/file");
        assert_error(&clean(spawn(case)), Step::Stdin, file, libc::ENOENT);
        let mut case = make();
        case.stdin(Stdio::piped()).stdout(open(true));
        assert_error(&clean(spawn(case)), Step::Stdout, file, libc::ENOENT);
        let mut case = make();
        case.stdin(Stdio::null()).stderr(open(true));
        assert_error(&clean(spawn(case)), Step::Stderr, file, libc::ENOENT);
        let mut case = make();
        case.stdin(Stdio::open("/dev/null", &OpenOptions::new()));
        let error = clean(spawn(case));
        assert_eq!(error.step(), Step::Stdin, "no access was asked for");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

/// A call that only the child makes, and the step and operand it fails at.
type ChildCall = (libc::c_long, Step, Option<&'static str>);

fn child_calls(engine: Engine) -> Vec<ChildCall> {
    // A legacy clone resets handlers first.
    let plain = engine == Engine::Pipe;
    let signal = (!plain).then_some("SIGPIPE");
    let mut calls = vec![
        (libc::SYS_close_range, Step::CloseRange, None),
        (libc::SYS_dup3, Step::Dup, Some("stdin")),
        (libc::SYS_chdir, Step::Chdir, Some("/")),
        (libc::SYS_rt_sigaction, Step::SignalAction, signal),
        (libc::SYS_execve, Step::Exec, Some("/bin/true")),
    ];
    if engine == Engine::Copied {
        calls.push((libc::SYS_set_robust_list, Step::RobustList, None));
        calls.push((libc::SYS_gettid, Step::RobustList, None));
    }
    calls
}

fn full(engine: Engine) -> Command {
    let mut command = command("/bin/true", engine);
    command.current_dir("/").stdin(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn every_call_of_the_child_that_fails_is_named() {
    let _alone = alone();
    each_engine(|engine| {
        for (nr, step, operand) in child_calls(engine) {
            for errno in [libc::EPERM, libc::ENOSYS, libc::EMFILE] {
                // These have a fallback: tests/fallbacks.rs.
                if nr == libc::SYS_close_range && errno != libc::EMFILE {
                    continue;
                }
                let action = Action::errno(errno);
                let fail = || filter::with(nr, action, spawn(full(engine)));
                assert_error(&clean(fail), step, operand, errno);
            }
        }
        let nr = libc::SYS_rt_sigprocmask;
        let action = Action::Errno(1);
        let fail = || filter::with(nr, action, spawn(full(engine)));
        assert_error(&clean(fail), Step::SignalMask, None, libc::EPERM);
    });
}

#[test]
fn a_child_killed_before_exec_is_an_error_with_the_step_it_reached() {
    let _alone = alone();
    each_engine(|engine| {
        for (nr, step, operand) in child_calls(engine) {
            if engine == Engine::Pipe && nr == libc::SYS_execve {
                continue; // tested below
            }
            if nr == libc::SYS_close_range {
                continue; // has a fallback
            }
            let kill = || filter::with(nr, Action::Kill, spawn(full(engine)));
            let error = clean(kill);
            assert_eq!(error.step(), step, "{error}");
            assert_eq!(error.operand().map(|w| w.to_str().unwrap()), operand);
            assert_eq!(error.signal(), Some(libc::SIGSYS), "{error}");
            // A call that is killed by a filter counts as missing.
            assert_eq!(error.raw_os_error(), Some(libc::ENOSYS));
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        }
    });
}

/// The one case that the end of a pipe does not distinguish.
#[test]
fn the_pipe_engine_reports_a_kill_inside_execve_as_unconfirmed() {
    let _alone = alone();
    let (nr, action) = (libc::SYS_execve, Action::Kill);
    let mut command = full(Engine::Pipe);
    let child = filter::with(nr, action, || command.spawn());
    let mut child = child.unwrap();
    assert!(!child.launch().confirmed());
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGSYS));
}

#[test]
fn a_rejected_clone_is_an_error_at_clone() {
    let _alone = alone();
    each_engine(|engine| {
        let nr = match engine {
            Engine::Pipe => libc::SYS_clone,
            _ => libc::SYS_clone3,
        };
        for errno in [libc::EAGAIN, libc::ENOMEM] {
            let action = Action::errno(errno);
            let fail = || filter::with(nr, action, spawn(full(engine)));
            assert_error(&clean(fail), Step::Clone, None, errno);
        }
    });
}

/// A filter makes close_range a call without effect: the probe that follows
/// it keeps the child from changing the parent's descriptors.
#[test]
fn a_close_range_without_effect_is_detected() {
    let _alone = alone();
    each_engine(|engine| {
        let nr = libc::SYS_close_range;
        let pretend =
            || filter::with(nr, Action::Errno(0), spawn(full(engine)));
        let error = clean(pretend);
        assert_eq!(error.step(), Step::CloseRange, "{error}");
        assert_eq!(error.raw_os_error(), None);
        assert!(error.to_string().contains("documentation"), "{error}");
    });
}

#[test]
fn etxtbsy_is_retried_and_then_reported() {
    let _alone = alone();
    let dir = scratch("busy");
    // The same file name: some programs depend on it.
    let path = dir.join("true");
    fs::copy("/bin/true", &path).unwrap();
    each_engine(|engine| {
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        let error = clean(spawn(command(&path, engine)));
        assert_error(&error, Step::Exec, path.to_str(), libc::ETXTBSY);
        drop(writer);
        // On a slow machine the file may be closed before the first try, or
        // after the last.
        let times = [8, 12, 16, 20, 28, 40, 60, 90, 120];
        let retried = times.into_iter().any(|milliseconds| {
            let writer = OpenOptions::new().append(true).open(&path).unwrap();
            let release = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(milliseconds));
                drop(writer);
            });
            let spawned = command(&path, engine).spawn();
            release.join().unwrap();
            match spawned {
                Ok(mut child) => {
                    assert!(child.wait().unwrap().success());
                    child.launch().busy_retries() > 0
                }
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
                    false
                }
            }
        });
        assert!(retried, "{engine}");
    });
    fs::remove_dir_all(dir).unwrap();
}

/// The status of a child that other code has reaped.
#[test]
fn a_status_reaped_by_another_thread_is_recovered_or_an_error() {
    let _alone = alone();
    each_engine(|engine| {
        let mut command = command("/bin/sh", engine);
        let mut child = command.args(["-c", "exit 5"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut status = 0;
        // SAFETY: reaps the child, without the library.
        let reaped = unsafe { libc::waitpid(pid, &mut status, 0) };
        assert_eq!(reaped, pid);
        match child.wait() {
            Ok(status) => assert_eq!(status.code(), Some(5)),
            Err(error) => {
                assert_eq!(error.step(), Step::Wait);
                let why = "PIDFD_GET_INFO gives no exit code before 6.15";
                let name = "a_status_reaped_by_another_thread_is_recovered_or_an_error";
                util::skip(name, why);
            }
        }
    });
}

#[test]
fn an_error_converts_to_an_io_error_of_the_same_kind() {
    let _alone = alone();
    let error = Command::new("/nope").spawn().unwrap_err();
    let text = error.to_string();
    let error = io::Error::from(error);
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert_eq!(inner.to_string(), text);
    assert_eq!(inner.step(), Step::Exec);
}
