//! Gate: functions of the parent that run before the child's exec.
#![allow(unsafe_code, reason = "the tests create and kill processes")]

mod util;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{self, Stdio as StdStdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use offshoot::{Command, Engine, Error, Memory, Method, Stdio, Step};
use util::clean::{assert_error, clean};
use util::reporter::Report;
use util::{
    PRIVATE, alone, each_of, inside, is_root, program, reporter_with, scratch,
};

/// A call counter.
#[derive(Clone, Default)]
struct Calls(Arc<AtomicUsize>);

impl Calls {
    fn one_more(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A line of `/proc/PID/status`.
fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim_start_matches(':').trim().to_string()
}

/// The functions run in the order they were added, while the child has done
/// all other steps and has not called exec; the pidfd is the child's.
#[test]
fn before_exec_runs_in_the_parent_before_the_program() {
    each_of(&PRIVATE, |engine| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut command = reporter_with(engine);
        command.stdout(Stdio::piped()).umask(0o17);
        for n in 1..=2 {
            let seen = Arc::clone(&seen);
            command.before_exec(move |pid, pidfd| {
                let comm = status(pid, "Name");
                assert_ne!(comm, "gate", "it is not the program");
                assert_eq!(status(pid, "Umask"), "0017");
                let info = pidfd.map(|fd| {
                    let fd = fd.as_raw_fd();
                    fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
                });
                let info = info.unwrap().unwrap();
                assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
                seen.lock().unwrap().push((n, pid));
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        assert_eq!(child.launch().engine(), engine);
        let pid = child.id();
        assert_eq!(*seen.lock().unwrap(), [(1, pid), (2, pid)]);
        let output = child.wait_with_output().unwrap();
        let report = Report::parse(&output.stdout);
        assert_eq!(report.fds(), [0, 1, 2]);
        assert_eq!(report.one("Umask"), "0017");
        assert_eq!(report.one("SigBlk"), "0000000000000000");
        assert_eq!(report.one("deathsig"), "0", "cleared before exec");
    });
}

#[test]
fn an_error_from_before_exec_fails_the_spawn_and_leaves_no_child() {
    each_of(&PRIVATE, |engine| {
        let calls = Calls::default();
        let mut command = Command::new("/bin/true");
        let counted = calls.clone();
        command.engine(engine).before_exec(move |_, _| {
            counted.one_more();
            Err(io::Error::from_raw_os_error(libc::EDQUOT))
        });
        let counted = calls.clone();
        command.before_exec(move |_, _| {
            counted.one_more();
            Ok(())
        });
        let error = clean(|| command.spawn().map(drop));
        assert_error(&error, Step::BeforeExec, None, libc::EDQUOT);
        assert_eq!(calls.count(), 1, "and no other is called");
        let mut command = Command::new("/bin/true");
        command.engine(engine);
        command.before_exec(|_, _| Err(io::Error::other("no room left")));
        let error = clean(|| command.spawn().map(drop));
        assert_eq!(error.to_string(), "before_exec: no room left");
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(error.raw_os_error(), None);
    });
}

#[test]
fn a_panic_in_before_exec_unwinds_and_leaves_no_child() {
    each_of(&PRIVATE, |engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine);
        command.before_exec(|_, _| std::panic::panic_any(7u8));
        let error = clean(|| {
            let spawn = AssertUnwindSafe(|| command.spawn().map(drop));
            let panic = catch_unwind(spawn).expect_err("it panics");
            assert_eq!(panic.downcast_ref(), Some(&7u8));
            // `clean` needs an error; this is one.
            Command::new("/nope").engine(engine).spawn().map(drop)
        });
        assert_eq!(error.step(), Step::Exec);
    });
}

#[test]
fn a_child_killed_at_the_gate_is_an_error() {
    each_of(&PRIVATE, |engine| {
        let mut command = Command::new("/bin/true");
        command.engine(engine).before_exec(|pid, _| {
            let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).unwrap();
            // SAFETY: kills the child of this spawn, which waits.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
            Ok(())
        });
        let error = clean(|| command.spawn().map(drop));
        assert_eq!(error.step(), Step::BeforeExec, "{error}");
        assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
    });
}

#[test]
fn a_child_that_fails_before_the_gate_is_not_waited_for() {
    each_of(&PRIVATE, |engine| {
        let calls = Calls::default();
        let counted = calls.clone();
        let mut command = Command::new("/bin/true");
        command.engine(engine).current_dir("/nope");
        command.before_exec(move |_, _| {
            counted.one_more();
            Ok(())
        });
        let error = clean(|| command.spawn().map(drop));
        assert_error(&error, Step::Chdir, Some("/nope"), libc::ENOENT);
        assert_eq!(calls.count(), 0);
    });
}

/// Each retry has a new child; the second can execute the program.
#[test]
fn a_retried_spawn_calls_before_exec_for_each_child() {
    let dir = scratch("gate-busy");
    each_of(&PRIVATE, |engine| {
        let path = dir.join(engine.to_string());
        program(&path, b"#!/bin/sh\n");
        let open = OpenOptions::new().write(true).open(&path).unwrap();
        let open = Mutex::new(Some(open));
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let pids = Arc::clone(&seen);
        let mut command = Command::new(&path);
        command.engine(engine).before_exec(move |pid, _| {
            let mut pids = pids.lock().unwrap();
            pids.insert(pid);
            if pids.len() == 2 {
                drop(open.lock().unwrap().take());
            }
            Ok(())
        });
        let mut child = command.spawn().unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(child.launch().busy_retries(), 1, "{engine}");
        assert_eq!(seen.lock().unwrap().len(), 2);
    });
}

#[test]
fn many_threads_share_one_prepared_before_exec() {
    each_of(&PRIVATE, |engine| {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let pids = Arc::clone(&seen);
        let mut command = Command::new("/bin/true");
        command.engine(engine).before_exec(move |pid, _| {
            assert!(pids.lock().unwrap().insert(pid), "{pid} twice");
            Ok(())
        });
        let prepared = command.prepare().unwrap();
        let spawn = || {
            for _ in 0..8 {
                let mut child = prepared.spawn().unwrap();
                let seen = seen.lock().unwrap().remove(&child.id());
                assert!(seen, "its own function was called");
                assert!(child.wait().unwrap().success());
            }
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(spawn)).collect();
            all.into_iter().for_each(|one| one.join().unwrap());
        });
    });
}

/// Whether a process has ended, reaped or not.
fn is_over(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let state = |stat: &String| {
        let rest = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
        rest.flatten()
    };
    stat.as_ref()
        .map_or(true, |stat| matches!(state(stat), None | Some('Z' | 'X')))
}

/// When the parent is killed, the kernel kills the child that waits for it.
#[test]
fn a_child_at_the_gate_dies_with_its_parent() {
    const ENGINE: &str = "OFFSHOOT_GATE_ENGINE";
    let name = "a_child_at_the_gate_dies_with_its_parent";
    if let Ok(engine) = env::var(ENGINE) {
        let engine = PRIVATE.into_iter().find(|e| e.to_string() == engine);
        let mut command = Command::new("/bin/sleep");
        command.arg("60").engine(engine.unwrap());
        let _ = command.before_exec(|pid, _| {
            fs::write(env::var_os("OFFSHOOT_GATE_FILE").unwrap(), {
                pid.to_string()
            })?;
            // SAFETY: kills this process.
            unsafe { libc::raise(libc::SIGKILL) };
            Ok(())
        });
        let child = command.spawn();
        panic!("{child:?}");
    }
    let dir = scratch("gate-death");
    each_of(&PRIVATE, |engine| {
        let file = dir.join(engine.to_string());
        let status = process::Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(ENGINE, engine.to_string())
            .env("OFFSHOOT_GATE_FILE", &file)
            .stdout(StdStdio::null())
            .status()
            .unwrap();
        assert!(!status.success());
        let pid: u32 = read_number(&file);
        let limit = Instant::now() + Duration::from_secs(10);
        while !is_over(pid) {
            assert!(Instant::now() < limit, "{engine}: {pid} is left");
            thread::sleep(Duration::from_millis(1));
        }
    });
}

fn read_number(file: &Path) -> u32 {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

/// In a new PID namespace `getppid` returns 0 although the parent lives.
#[test]
fn the_init_of_a_pid_namespace_waits_at_the_gate() {
    let name = "the_init_of_a_pid_namespace_waits_at_the_gate";
    let _alone = alone();
    if !is_root() {
        return util::skip(name, "a PID namespace needs CAP_SYS_ADMIN");
    }
    if !inside(name, &[]) {
        return;
    }
    each_of(&PRIVATE, |engine| {
        let test = || {
            // SAFETY: changes the PID namespace of future children only.
            let done = unsafe { libc::unshare(libc::CLONE_NEWPID) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", "echo $$"]).stdout(Stdio::piped());
            sh.engine(engine).before_exec(|pid, _| {
                assert!(pid > 1, "as this process sees it");
                Ok(())
            });
            let child = sh.spawn().unwrap();
            assert_eq!(child.wait_with_output().unwrap().stdout, b"1\n");
        };
        thread::scope(|scope| scope.spawn(test).join().unwrap());
    });
}

type Function = fn(u32, Option<BorrowedFd<'_>>) -> io::Result<()>;

#[test]
fn before_exec_is_refused_with_shared_memory() {
    let none: Function = |_, _| panic!("nothing is cloned");
    let refused = |change: &dyn Fn(&mut Command) -> &mut Command,
                   error: Option<Error>| {
        let mut command = Command::new("/bin/true");
        command.before_exec(none);
        change(&mut command);
        let error = error.or_else(|| command.spawn().err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("before_exec"), "{error}");
    };
    refused(&|c| c.memory(Memory::Shared), None);
    refused(&|c| c.method(Method::Vfork), None);
    refused(&|c| c.engine(Engine::Suspended), None);
    // SAFETY: the hook does nothing.
    refused(&|c| unsafe { c.pre_exec_shared(|_| Ok(())) }, None);
    let error = Command::new("/bin/true").before_exec(none).exec();
    assert_eq!(error.step(), Step::BeforeExec);
    refused(&|c| c, Some(error));
}
