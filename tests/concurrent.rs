//! Concurrent: the engine whose caller runs on, by which `spawn_all` makes
//! children beside each other.
#![allow(unsafe_code, reason = "tests send signals to their own children")]

mod util;

use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::{fs, io, process, thread};

use offshoot::{
    Child, ChildOpenOptions, CloneFlags, Command, Engine, Error, Method,
    Prepared, Stdio, Step, spawn_all,
};
use util::clean::{clean, spawn};
use util::{ENGINE, alone, has_children, program, scratch};

fn sh(line: &str) -> Command {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", line]).stdout(Stdio::piped());
    sh
}

fn prepared(command: Command) -> Prepared {
    command.prepare().unwrap()
}

fn text(child: &mut Child) -> String {
    let text = io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    text
}

/// Two rounds of it, with an argument, a variable and a pipe of its own each.
#[test]
fn spawn_all_makes_children_whose_caller_runs_on() {
    let _alone = alone();
    let own = |n: usize| {
        let mut command = sh("echo $0 $OWN; pwd");
        command.arg(n.to_string()).env("OWN", format!("own {n}"));
        command.current_dir("/").umask(0o77);
        prepared(command)
    };
    let commands: Vec<Prepared> = (0..70).map(own).collect();
    for (n, child) in spawn_all(&commands).into_iter().enumerate() {
        let mut child = child.unwrap();
        let launch = child.launch().clone();
        assert_eq!(launch.engine(), Engine::Concurrent);
        assert!(launch.confirmed(), "{launch}");
        let flags = launch.flags();
        assert!(flags.contains(CloneFlags::VM | CloneFlags::CHILD_CLEARTID));
        assert!(!flags.contains(CloneFlags::VFORK), "{flags}");
        assert_eq!(text(&mut child), format!("{n} own {n}\n/\n"));
    }
    assert!(!has_children());
}

/// The engine's own retries and fallbacks are those of the usual spawn.
#[test]
fn a_child_that_another_attempt_could_start_is_started_by_the_usual_spawn() {
    let _alone = alone();
    let dir = scratch("concurrent-again");
    let (script, busy) = (dir.join("script"), dir.join("true"));
    program(&script, b"echo a shell runs it\n");
    fs::copy("/bin/true", &busy).unwrap();
    let mut by_shell = Command::new(&script);
    by_shell.shell_fallback(true).stdout(Stdio::piped());
    let holder = fs::OpenOptions::new().append(true).open(&busy).unwrap();
    let commands = [
        prepared(sh("echo one")),
        prepared(by_shell),
        prepared(Command::new(&busy)),
        prepared(Command::new("/no/such")),
    ];
    let release = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(5));
        drop(holder);
    });
    let [one, shell, busy, missing] = spawn_all(&commands).try_into().unwrap();
    release.join().unwrap();
    let (mut one, mut shell): (Child, Child) = (one.unwrap(), shell.unwrap());
    assert_eq!(one.launch().engine(), Engine::Concurrent);
    assert_eq!(shell.launch().engine(), Engine::Suspended);
    assert_eq!(text(&mut one), "one\n");
    assert_eq!(text(&mut shell), "a shell runs it\n");
    assert!(busy.unwrap().wait().unwrap().success());
    let error: Error = missing.unwrap_err();
    assert_eq!(error.step(), Step::Exec);
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    assert!(!has_children());
}

/// One that is refused by name, with the option.
fn refused(set: fn(&mut Command) -> &mut Command) -> String {
    let mut command = Command::new("/bin/true");
    command.engine(Engine::Concurrent);
    set(&mut command);
    let error = command.plan().unwrap_err();
    assert!(error.raw_os_error().is_none(), "{error}");
    error.to_string()
}

#[test]
fn what_would_reach_a_caller_that_runs_is_refused() {
    for (option, text) in [
        ("oom_score_adj", refused(|c| c.oom_score_adj(1))),
        ("uid", refused(|c| c.uid(1))),
        ("method", refused(|c| c.method(Method::Vfork))),
        ("cgroup", refused(|c| c.cgroup("/sys/fs/cgroup"))),
        ("own_cgroup", refused(|c| c.own_cgroup("/sys/fs/cgroup"))),
        ("before_exec", refused(|c| c.before_exec(|_, _| Ok(())))),
        (
            "pre_exec_shared",
            // SAFETY: a function that does nothing.
            refused(|c| unsafe { c.pre_exec_shared(|_| Ok(())) }),
        ),
        (
            "raw_syscall_shared",
            // SAFETY: a call that changes nothing.
            refused(|c| unsafe {
                c.raw_syscall_shared("getpid", libc::SYS_getpid, [])
            }),
        ),
    ] {
        assert!(text.contains(&format!("\"{option}\"")), "{option}: {text}");
    }
}

/// By the same names `spawn_all` starts them in the usual way.
#[test]
fn spawn_all_suspends_its_caller_where_it_must() {
    let _alone = alone();
    let dir = scratch("concurrent-open");
    let mut scored = Command::new("/bin/true");
    scored.oom_score_adj(500);
    let mut opened = sh("echo line >&7");
    let append = ChildOpenOptions::new().append(true).create(true).clone();
    opened.open_in_child(7, dir.join("log"), &append);
    let mut hooked = Command::new("/bin/true");
    hooked.before_exec(|_, _| Ok(()));
    let all = [scored, opened, hooked].map(prepared);
    for child in spawn_all(all.iter().chain(&all)) {
        let mut child = child.unwrap();
        assert_ne!(child.launch().engine(), Engine::Concurrent);
        assert!(child.wait().unwrap().success());
    }
    let log = fs::read_to_string(dir.join("log")).unwrap();
    assert_eq!(log, "line\nline\n");
}

/// The child has its own mask and descriptor table, and the caller's stay.
#[test]
fn a_failure_leaves_nothing_behind() {
    let _alone = alone();
    ENGINE.set(Engine::Concurrent);
    let all: [fn(&mut Command) -> &mut Command; 3] = [
        |c| c.current_dir("/no/such"),
        |c| c.arg("x".repeat(200_000)),
        |c| c.stdin(Stdio::piped()).nice(4).umask(0),
    ];
    for set in all {
        let mut command = Command::new("/no/such/program");
        command.engine(Engine::Concurrent);
        set(&mut command);
        clean(spawn(command));
    }
    ENGINE.set(Engine::Suspended);
}

/// The kernel clears the word for a child that a filter kills as it execs, too,
/// and the error says which signal it was.
#[test]
fn a_child_that_is_killed_before_exec_is_an_error() {
    let _alone = alone();
    let mut killed = Command::new("/bin/true");
    // BPF_RET | BPF_K: the next call, exec, kills the process.
    let kill = [(0x06, 0, 0, libc::SECCOMP_RET_KILL_PROCESS)];
    killed.no_new_privs(true).seccomp(kill);
    let commands = [prepared(killed), prepared(sh("echo lives"))];
    let mut children = spawn_all(&commands);
    assert_eq!(text(children[1].as_mut().unwrap()), "lives\n");
    let error = children.swap_remove(0).unwrap_err();
    assert!(error.to_string().contains("SIGSYS"), "{error}");
    assert!(!has_children());
}

/// Threads of a caller that also forks, while children share its memory.
#[test]
fn many_threads_start_many_at_once() {
    let _alone = alone();
    let forks = thread::spawn(|| {
        for _ in 0..50 {
            let status = process::Command::new("/bin/true").status().unwrap();
            assert_eq!(status.signal(), None);
        }
    });
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let echo = |n| prepared(sh(&format!("echo {thread} {n}")));
                let commands: Vec<Prepared> = (0..40).map(echo).collect();
                for (n, child) in spawn_all(&commands).into_iter().enumerate()
                {
                    let mut child = child.unwrap();
                    assert_eq!(text(&mut child), format!("{thread} {n}\n"));
                }
            });
        }
    });
    forks.join().unwrap();
    assert!(!has_children());
}

/// Nothing but what is listed is inherited, though the table is shared first.
#[test]
fn no_child_has_a_descriptor_of_another() {
    let _alone = alone();
    let dir = scratch("concurrent-fds");
    let open = fs::File::create(dir.join("open")).unwrap();
    // SAFETY: changes a flag of a descriptor of this test's.
    let set = unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) };
    assert_eq!(set, 0);
    let list = prepared(sh("ls /proc/self/fd | tr '\\n' ' '"));
    for child in spawn_all([&list; 20]) {
        // The last is that of the directory.
        assert_eq!(text(&mut child.unwrap()), "0 1 2 3 ");
    }
}
