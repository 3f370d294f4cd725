//! Reaped: once another thread has reaped a child, the image of a later one
//! execs in a second thread, and nobody notices.
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

/// Another thread's waitpid takes the status of a child, and this process
/// sees that.
fn be_reaped() {
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

/// Runs it, sees that it is confirmed and succeeds, and returns what it wrote.
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

/// All of it is a thread's own, and set by the id of the process.
#[test]
fn attributes_set_by_pid_in_before_exec_apply_to_the_program() {
    let name = "attributes_set_by_pid_in_before_exec_apply_to_the_program";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    be_reaped();
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&set);
    // SAFETY: writes one set.
    unsafe { libc::sched_getaffinity(0, size, &raw mut set) };
    // SAFETY: the set has so many.
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
        // SAFETY: the set has so many.
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
    let said = output(command);
    assert_eq!(said.lines().next(), Some("7"), "{said}");
    assert!(said.contains("SCHED_BATCH"), "{said}");
    assert_eq!(line(&said, "Cpus_allowed_list"), last.to_string());
}

#[test]
fn before_exec_sees_a_live_process() {
    let name = "before_exec_sees_a_live_process";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    be_reaped();
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

/// A thread that is cloned from a tracee has no tracer.
#[test]
fn a_tracer_attached_in_before_exec_traces_the_program() {
    let name = "a_tracer_attached_in_before_exec_traces_the_program";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    be_reaped();
    let mut command = isolated("/bin/grep");
    command.args(["TracerPid", "/proc/self/status"]);
    command.before_exec(|pid, _| {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: a child, which goes on; no address is written to.
        let seized =
            unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) };
        done(seized)
    });
    command.stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return skip(name, "nobody may be traced here");
        }
        Err(error) => panic!("{error}"),
    };
    let id = i32::try_from(child.id()).unwrap();
    // It stops at its exec; there is nothing else that it could stop at.
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
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    // SAFETY: returns a number and writes no memory.
    let own = unsafe { libc::gettid() };
    assert_eq!(said, format!("TracerPid:\t{own}\n"));
}

#[test]
fn paths_below_proc_self_are_found() {
    let name = "paths_below_proc_self_are_found";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    be_reaped();
    let dir = fs::canonicalize(scratch("below")).unwrap();
    let shown = dir.to_str().unwrap();
    let open = |path: &str| File::open(path).unwrap();
    for _ in 0..20 {
        let mut command = isolated("/bin/pwd");
        command.current_dir(format!("/proc/self/root{shown}"));
        let said = output(command);
        assert!(said.ends_with(shown), "{said}");
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
        // A script's own path is one of these.
        let script = dir.join("script");
        program(&script, b"#!/bin/sh\necho $1\n");
        let mut command = Command::from_fd(File::open(&script).unwrap());
        command.arg("x").script_fd(9).engine(Engine::Isolated);
        assert_eq!(output(command), "x");
        // And what no prefix of a path tells.
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

/// What a filter takes from the second thread: the launch does without it,
/// or says what failed, and is never late or wrong.
#[test]
fn a_refused_second_thread_is_a_fallback_or_an_error() {
    let name = "a_refused_second_thread_is_a_fallback_or_an_error";
    let _alone = alone();
    if !inside(name, &[]) {
        return;
    }
    be_reaped();
    let eperm = Action::errno(libc::EPERM);
    let (futex, tid) = (libc::SYS_futex, libc::SYS_set_tid_address);
    // This process makes futex calls too, and would be killed.
    let cases = [
        (futex, eperm),
        (tid, eperm),
        (tid, Action::Kill),
        (tid, Action::Thread),
    ];
    for (nr, action) in cases {
        assert_eq!(spawned(nr, action), Some(true), "{nr} {action:?}");
    }
    for action in [eperm, Action::Kill, Action::Thread] {
        assert_eq!(
            spawned(libc::SYS_execve, action),
            Some(false),
            "{action:?}"
        );
    }
}

/// Whether a fork under the filter has made a child, if it got so far.
fn spawned(nr: libc::c_long, action: Action) -> Option<bool> {
    let status = forked_within(Duration::from_secs(20), || {
        filter::install(nr, action);
        let mut command = isolated("/bin/true");
        command.stdout(Stdio::null());
        i32::from(command.spawn().is_ok())
    })?;
    let ended = libc::WIFEXITED(status);
    ended.then(|| libc::WEXITSTATUS(status) == 1)
}
