//! Second thread of the helper: once another thread has reaped a child, later
//! helpers call exec in a second thread, without visible effects.
#![allow(unsafe_code, reason = "tests do what other libraries do")]

mod util;

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use offshoot::{Command, Engine, Stdio};
use util::clean::isolated;
use util::filter::{self, Action};
use util::fork::forked_within;
use util::{alone, inside, program, scratch, skip};

/// Another thread's waitpid reaps a child, which the library then detects.
fn let_another_thread_reap() {
    let mut child = isolated("/bin/true").spawn().unwrap();
    let reap = || {
        let mut status = 0;
        // SAFETY: writes one int.
        unsafe { libc::waitpid(-1, &raw mut status, 0) }
    };
    let reaped = thread::spawn(reap).join().unwrap();
    assert_eq!(u32::try_from(reaped), Ok(child.id()));
    let _ = child.wait();
}

/// Runs a command that must be confirmed and succeed; returns its output.
#[track_caller]
fn output(mut command: Command) -> String {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(child.launch().engine(), Engine::Isolated);
    assert!(child.launch().confirmed());
    assert_eq!(child.launch().fallbacks().count(), 0);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

fn done(result: i64) -> io::Result<()> {
    (result == 0).then_some(()).ok_or_else(io::Error::last_os_error)
}

/// The line of a status file that begins with this.
fn line(status: &str, key: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim_start_matches(':').trim().to_string()
}

/// Attributes of a thread that are set by the pid.
#[test]
fn attributes_set_by_pid_in_before_exec_apply_to_the_program() {
    let name = "attributes_set_by_pid_in_before_exec_apply_to_the_program";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let_another_thread_reap();
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&set);
    // SAFETY: writes one set.
    unsafe { libc::sched_getaffinity(0, size, &raw mut set) };
    // SAFETY: the index is below the size of the set.
    let has = |n: &usize| unsafe { libc::CPU_ISSET(*n, &set) };
    let last = (0..1024).rev().find(has).unwrap();
    let mut command = isolated("/bin/sh");
    command.args(["-c", "nice; chrt -p $$; cat /proc/$$/status"]);
    command.before_exec(move |pid, _| {
        let id = i32::try_from(pid).unwrap();
        // SAFETY: a child.
        let nice = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid, 7) };
        done(nice.into())?;
        // SAFETY: all zeros is an empty set.
        let mut one: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the index is below the size of the set.
        unsafe { libc::CPU_SET(last, &mut one) };
        // SAFETY: reads one set.
        let bound =
            unsafe { libc::sched_setaffinity(id, size, &raw const one) };
        done(bound.into())?;
        let none = libc::sched_param { sched_priority: 0 };
        let batch = libc::SCHED_BATCH;
        // SAFETY: reads one parameter.
        let set =
            unsafe { libc::sched_setscheduler(id, batch, &raw const none) };
        done(set.into())
    });
    let text = output(command);
    assert_eq!(text.lines().next(), Some("7"), "{text}");
    assert!(text.contains("SCHED_BATCH"), "{text}");
    assert_eq!(line(&text, "Cpus_allowed_list"), last.to_string());
}

#[test]
fn before_exec_sees_a_live_process() {
    let name = "before_exec_sees_a_live_process";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let_another_thread_reap();
    let dir = scratch("lives");
    let own = fs::canonicalize(&dir).unwrap();
    let mut command = isolated("/bin/pwd");
    command.current_dir(&dir).before_exec({
        let own = own.clone();
        move |pid, _| {
            let of = |file| fs::read_link(format!("/proc/{pid}/{file}"));
            assert_eq!(of("cwd")?, own);
            for file in ["exe", "root", "ns/mnt", "ns/net", "fd/1"] {
                of(file)?;
            }
            assert!(!fs::read(format!("/proc/{pid}/maps"))?.is_empty());
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            assert_eq!(line(&status, "Threads"), "1");
            assert!(!line(&status, "State").starts_with('Z'), "{status}");
            Ok(())
        }
    });
    assert_eq!(output(command), own.to_str().unwrap());
}

/// A thread that a tracee clones has no tracer.
#[test]
fn a_tracer_attached_in_before_exec_traces_the_program() {
    let name = "a_tracer_attached_in_before_exec_traces_the_program";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let_another_thread_reap();
    let mut command = isolated("/bin/grep");
    command.args(["TracerPid", "/proc/self/status"]);
    command.before_exec(|pid, _| {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: a child, which continues; no address is written to.
        let seized =
            unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) };
        done(seized)
    });
    command.stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return skip(name, "ptrace is not allowed here");
        }
        Err(error) => panic!("{error}"),
    };
    let id = i32::try_from(child.id()).unwrap();
    // It stops at its exec only.
    let mut status = 0;
    let wait = |status: &mut i32| {
        // SAFETY: writes one int.
        unsafe { libc::waitpid(id, status, libc::__WALL) }
    };
    while wait(&mut status) == id && libc::WIFSTOPPED(status) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: a tracee of ours that is stopped.
        unsafe { libc::ptrace(libc::PTRACE_CONT, id, none, none) };
    }
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::gettid() };
    assert_eq!(text, format!("TracerPid:\t{own}\n"));
}

#[test]
fn paths_below_proc_self_are_found() {
    let name = "paths_below_proc_self_are_found";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let_another_thread_reap();
    let dir = fs::canonicalize(scratch("below")).unwrap();
    let shown = dir.to_str().unwrap();
    let open = |path: &str| File::open(path).unwrap();
    for _ in 0..20 {
        let mut command = isolated("/bin/pwd");
        command.current_dir(format!("/proc/self/root{shown}"));
        let text = output(command);
        assert!(text.ends_with(shown), "{text}");
        let mut command = isolated("/bin/pwd");
        command.current_dir("/proc/self/cwd");
        output(command);
        for path in ["/dev/fd/7", "/proc/self/fd/7", "/proc/thread-self/fd/7"]
        {
            let mut command = isolated("/bin/pwd");
            command.fd(7, open(shown)).current_dir(path);
            assert_eq!(output(command), shown);
            let mut command = isolated(path);
            command.arg("x").fd(7, open("/bin/echo"));
            assert_eq!(output(command), "x", "{path}");
        }
        let mut command = isolated("/proc/self/root/bin/echo");
        command.arg("x");
        assert_eq!(output(command), "x");
        // A script by descriptor has such a path.
        let script = dir.join("script");
        program(&script, b"#!/bin/sh\necho $1\n");
        let mut command = Command::from_fd(File::open(&script).unwrap());
        command.arg("x").script_fd(9).engine(Engine::Isolated);
        assert_eq!(output(command), "x");
        // A path that has no such prefix itself.
        let link = dir.join("link");
        let _ = symlink("/proc/self/root/bin/echo", &link);
        let mut command = isolated(link.to_str().unwrap());
        command.arg("x");
        assert_eq!(output(command), "x");
        let script = dir.join("by-link");
        program(&script, b"#!/proc/self/root/bin/sh\necho $1\n");
        let mut command = isolated(script.to_str().unwrap());
        command.arg("x");
        assert_eq!(output(command), "x");
    }
}

/// With a call of the second thread rejected, the launch does without
/// that thread or fails, and never blocks or reports a wrong result.
#[test]
fn a_rejected_second_thread_is_a_fallback_or_an_error() {
    let name = "a_rejected_second_thread_is_a_fallback_or_an_error";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    let_another_thread_reap();
    let eperm = Action::errno(libc::EPERM);
    let (futex, tid) = (libc::SYS_futex, libc::SYS_set_tid_address);
    // A futex filter that kills would kill this process too.
    let cases = [
        (futex, eperm),
        (tid, eperm),
        (tid, Action::Kill),
        (tid, Action::Thread),
    ];
    for (nr, action) in cases {
        assert_eq!(spawns(nr, action), Some(true), "{nr} {action:?}");
    }
    for action in [eperm, Action::Kill, Action::Thread] {
        assert_eq!(
            spawns(libc::SYS_execve, action),
            Some(false),
            "{action:?}"
        );
    }
}

/// Whether spawn succeeds in a fork under the filter; `None` if it is killed.
fn spawns(nr: libc::c_long, action: Action) -> Option<bool> {
    let status = forked_within(Duration::from_secs(20), || {
        filter::install(nr, action);
        let mut command = isolated("/bin/true");
        command.stdout(Stdio::null());
        i32::from(command.spawn().is_ok())
    })?;
    let ended = libc::WIFEXITED(status);
    ended.then(|| libc::WEXITSTATUS(status) == 1)
}
