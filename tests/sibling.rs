//! Sibling: a program that is a child of the parent of the process that
//! starts it.
#![allow(unsafe_code, reason = "the tests fork, count signals and reap")]

#[path = "sibling/helper.rs"]
mod helper;
#[path = "sibling/proc.rs"]
mod proc;
mod util;

use std::fs::OpenOptions;
use std::sync::atomic::Ordering;
use std::{io, process};

use helper::{
    COUNT, FAILED, MAKING, command, count_sigchld, exited, in_own_pids, kill,
    parent_of, sleeper, uncached, with_helper, with_helper_of_busy_parent,
};
use offshoot::{CloneFlags, Command, Engine, Stdio, Step};
use util::clean::refused;
use util::filter::{self, Action};
use util::fork::{self, end_with};
use util::parent_state::ParentState;
use util::reporter::descriptors;
use util::{has_children, inside, own_pids, skip};

#[test]
fn a_sibling_is_a_child_of_the_callers_parent() {
    let name = "a_sibling_is_a_child_of_the_callers_parent";
    if !in_own_pids(name) {
        return;
    }
    count_sigchld();
    for engine in MAKING {
        let parent = process::id();
        let others = with_helper(|| {
            // The helper image is cached.
            command(engine, "true").status().unwrap();
            COUNT.store(0, Ordering::SeqCst);
            let before = (descriptors(), ParentState::now());
            let program = sleeper(engine).spawn_sibling().unwrap();
            let launch = program.launch();
            assert_eq!(launch.engine(), engine);
            assert!(launch.flags().contains(CloneFlags::PARENT), "{launch}");
            assert!(launch.confirmed());
            assert_eq!(launch.fallbacks().count(), 0, "{launch}");
            assert_eq!(parent_of(program.id()), parent);
            assert!(!has_children());
            kill(&program);
            drop(program);
            assert_eq!(before.0, descriptors());
            let changes = before.1.changes(&ParentState::now());
            assert!(changes.is_empty(), "{changes:?}");
        });
        assert_eq!(others, [libc::SIGKILL], "{engine}");
        // It raised SIGCHLD here, as did the helper, unless they merged.
        assert!(COUNT.swap(0, Ordering::SeqCst) > 0);
    }
}

#[test]
fn a_sibling_that_fails_is_a_zombie_of_the_parent_and_a_named_error() {
    let name =
        "a_sibling_that_fails_is_a_zombie_of_the_parent_and_a_named_error";
    if !in_own_pids(name) {
        return;
    }
    for engine in MAKING {
        let mut chdir = sleeper(engine);
        chdir.current_dir("/no/such");
        let mut exec = command(engine, "/no/such/program");
        let steps = [(&mut chdir, Step::Chdir), (&mut exec, Step::Exec)];
        for (command, step) in steps {
            let others = with_helper(|| {
                let of_spawn = command.spawn().unwrap_err();
                let before = uncached();
                let error = command.spawn_sibling().unwrap_err();
                assert_eq!(error.step(), step);
                assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
                assert_eq!(error.to_string(), of_spawn.to_string());
                assert_eq!(before, uncached());
            });
            assert_eq!(others, [exited(FAILED)], "{engine}: {step}");
        }
    }
}

#[test]
fn a_sibling_that_dies_before_exec_is_an_error_with_its_signal() {
    let name = "a_sibling_that_dies_before_exec_is_an_error_with_its_signal";
    if !in_own_pids(name) {
        return;
    }
    for engine in MAKING {
        let nr = libc::SYS_setpriority;
        for action in [Action::Kill, Action::errno(libc::EACCES)] {
            let others = with_helper(|| {
                filter::with(nr, action, || {
                    let mut nice = command(engine, "true");
                    nice.nice(19);
                    let of_spawn = nice.spawn().unwrap_err();
                    let error = nice.spawn_sibling().unwrap_err();
                    assert_eq!(error.step(), Step::Nice, "{error}");
                    assert_eq!(error.to_string(), of_spawn.to_string());
                });
            });
            let core = others[0] & 0x80;
            let want = match action {
                Action::Kill => libc::SIGSYS | core,
                _ => exited(FAILED),
            };
            assert_eq!(others, [want], "{engine}");
        }
    }
}

/// Its memory is released and it has begun its exec, as a program's.
#[test]
fn a_sibling_that_dies_in_exec_is_no_program() {
    let name = "a_sibling_that_dies_in_exec_is_no_program";
    if !in_own_pids(name) {
        return;
    }
    for engine in MAKING {
        let others = with_helper(|| {
            // The helper is run by execveat.
            filter::with(libc::SYS_execve, Action::Kill, || {
                for _ in 0..10 {
                    let error = command(engine, "/bin/true").spawn_sibling();
                    let error = error.unwrap_err();
                    assert_eq!(error.step(), Step::Exec, "{error}");
                    let text = error.to_string();
                    // Only a privileged user sees how the helper ended.
                    let lost = text.contains("its exit status is lost");
                    let hidden = engine == Engine::Isolated && lost;
                    assert!(hidden || text.contains("SIGSYS"), "{text}");
                }
            });
        });
        let died = |status: &i32| *status & 0x7f == libc::SIGSYS;
        assert!(others.len() == 10 && others.iter().all(died), "{others:?}");
    }
}

/// The parent reaps each at once, so that most are gone when it is looked at
/// what became of them.
#[test]
fn each_of_many_siblings_that_are_reaped_at_once_is_a_program_or_an_error() {
    let name = "each_of_many_siblings_that_are_reaped_at_once_is_a_program_or_an_error";
    if !in_own_pids(name) {
        return;
    }
    const TIMES: usize = 100;
    for engine in MAKING {
        let others = with_helper_of_busy_parent(|| {
            let before = uncached();
            for _ in 0..TIMES {
                command(engine, "true").spawn_sibling().unwrap();
                let mut killed = command(engine, "sh");
                killed.args(["-c", "kill -9 $$"]).spawn_sibling().unwrap();
                let error = command(engine, "/no/such").spawn_sibling();
                assert_eq!(error.unwrap_err().step(), Step::Exec);
            }
            assert_eq!(before, uncached());
        });
        for status in [0, exited(FAILED), libc::SIGKILL] {
            let same = others.iter().filter(|one| **one == status).count();
            assert_eq!(same, TIMES, "{engine} {status:#x}");
        }
        assert_eq!(others.len(), 3 * TIMES);
    }
}

#[test]
fn a_sibling_that_died_in_exec_and_was_reaped_is_never_confirmed() {
    let name = "a_sibling_that_died_in_exec_and_was_reaped_is_never_confirmed";
    if !in_own_pids(name) {
        return;
    }
    const TIMES: usize = 50;
    for engine in MAKING {
        let others = with_helper_of_busy_parent(|| {
            filter::with(libc::SYS_execve, Action::Kill, || {
                for _ in 0..TIMES {
                    match command(engine, "/bin/true").spawn_sibling() {
                        Ok(it) => assert!(!it.launch().confirmed()),
                        Err(it) => assert_eq!(it.step(), Step::Exec, "{it}"),
                    }
                }
            });
        });
        let died = |status: &i32| *status & 0x7f == libc::SIGSYS;
        assert!(others.len() == TIMES && others.iter().all(died), "{engine}");
    }
}

#[test]
fn siblings_are_reaped_by_the_kernel_where_the_parent_ignores_sigchld() {
    let name =
        "siblings_are_reaped_by_the_kernel_where_the_parent_ignores_sigchld";
    if !in_own_pids(name) {
        return;
    }
    // SAFETY: this process has no handlers of its own.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let (read, write) = io::pipe().unwrap();
    let pid = fork::fork();
    if pid == 0 {
        end_with(|| {
            for engine in MAKING {
                for _ in 0..30 {
                    command(engine, "true").spawn_sibling().unwrap();
                    let error = command(engine, "/no/such").spawn_sibling();
                    assert_eq!(error.unwrap_err().step(), Step::Exec);
                }
            }
            io::Write::write_all(&mut &write, b"done").unwrap();
            0
        });
    }
    drop(write);
    assert_eq!(io::read_to_string(read).unwrap(), "done");
    // Waits until the last child has ended.
    // SAFETY: writes nothing.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL) };
    assert!(!has_children());
}

#[test]
fn a_prepared_command_makes_siblings_and_children() {
    let name = "a_prepared_command_makes_siblings_and_children";
    if !in_own_pids(name) {
        return;
    }
    for engine in MAKING {
        let parent = process::id();
        let others = with_helper(|| {
            let sleep = sleeper(engine).prepare().unwrap();
            let mut child = sleep.spawn().unwrap();
            assert_eq!(parent_of(child.id()), process::id());
            let flags = child.launch().flags();
            assert!(!flags.contains(CloneFlags::PARENT));
            for _ in 0..2 {
                let program = sleep.spawn_sibling().unwrap();
                assert_eq!(parent_of(program.id()), parent);
                kill(&program);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            COUNT.store(0, Ordering::SeqCst);
        });
        assert_eq!(others, [libc::SIGKILL; 2], "{engine}");
    }
}

#[test]
fn there_is_one_attempt_that_makes_a_sibling() {
    let name = "there_is_one_attempt_that_makes_a_sibling";
    if !in_own_pids(name) {
        return;
    }
    let path = util::scratch("busy").join("program");
    util::program(&path, b"#!/bin/true\n");
    for engine in MAKING {
        let path = path.to_str().unwrap();
        let others = with_helper(|| {
            let open = OpenOptions::new().write(true).open(path).unwrap();
            let error = command(engine, path).spawn_sibling().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY), "{error}");
            drop(open);
        });
        assert_eq!(others, [exited(FAILED)], "{engine}");
        // A known filter: what it rejects is not tried.
        let others = with_helper(|| {
            let no = Action::errno(libc::ENOSYS);
            filter::with(libc::SYS_close_range, no, || {
                let program = command(engine, "true").spawn_sibling().unwrap();
                let launch = program.launch();
                let names: Vec<_> =
                    launch.fallbacks().map(|it| it.feature()).collect();
                assert_eq!(names, ["close_range"], "{launch}");
            });
        });
        assert_eq!(others, [0], "{engine}");
        // No child is made by a clone3 that fails.
        let others = with_helper(|| {
            let no = Action::errno(libc::ENOSYS);
            filter::with(libc::SYS_clone3, no, || {
                let program = command(engine, "true").spawn_sibling().unwrap();
                let launch = program.launch();
                assert_eq!(launch.call(), "clone", "{launch}");
                assert!(launch.flags().contains(CloneFlags::PARENT));
            });
        });
        assert_eq!(others, [0], "{engine}");
    }
}

#[test]
fn private_memory_of_a_sibling_is_copied_until_a_helper_has_worked() {
    let name =
        "private_memory_of_a_sibling_is_copied_until_a_helper_has_worked";
    if !in_own_pids(name) {
        return;
    }
    let others = with_helper(|| {
        let mut private = Command::new("true");
        private.memory(offshoot::Memory::Private);
        let first = private.spawn_sibling().unwrap();
        assert_eq!(first.launch().engine(), Engine::Copied);
        let why = first.launch().fallbacks().next().unwrap().instead();
        assert_eq!(why, "copied, as a sibling has one attempt");
        private.status().unwrap();
        COUNT.store(0, Ordering::SeqCst);
        let second = private.spawn_sibling().unwrap();
        assert_eq!(second.launch().engine(), Engine::Isolated);
    });
    assert_eq!(others, [0, 0]);
}

#[test]
fn what_is_about_the_parent_is_refused_to_a_sibling() {
    let refuse = |set: &dyn Fn(&mut Command), step, option, why| {
        let mut command = Command::new("true");
        set(&mut command);
        let error = command.spawn_sibling().unwrap_err();
        refused(&error, step, Some(option), why);
        let error = command.sibling_plan().unwrap_err();
        refused(&error, step, Some(option), why);
        let error = command.prepare().unwrap().spawn_sibling().unwrap_err();
        refused(&error, step, Some(option), why);
    };
    let other = "the parent of a sibling is the parent of this process";
    let gate = |c: &mut Command| {
        c.before_exec(|_, _| Ok(()));
    };
    let death = |c: &mut Command| {
        c.parent_death_signal(libc::SIGTERM);
    };
    let dies = |c: &mut Command| {
        c.die_with_parent();
    };
    let traced = |c: &mut Command| {
        c.ptrace_traceme(true);
    };
    let group = |c: &mut Command| {
        c.own_cgroup("/sys/fs/cgroup");
    };
    let listener = |c: &mut Command| {
        c.no_new_privs(true).seccomp_with_listener([(6, 0, 0, 0x7FFF_0000)]);
    };
    refuse(&gate, Step::Clone, "before_exec", other);
    refuse(&death, Step::Clone, "parent_death_signal", other);
    refuse(&dies, Step::Clone, "die_with_parent", other);
    refuse(&traced, Step::Clone, "ptrace_traceme", other);
    refuse(&group, Step::Clone, "own_cgroup", other);
    refuse(&listener, Step::Clone, "seccomp_with_listener", other);
    let engine = |c: &mut Command| {
        c.engine(Engine::Pipe);
    };
    let why = "the engine pipe cannot make a sibling";
    refuse(&engine, Step::Clone, "engine", why);
    let pipe = |c: &mut Command| {
        c.stdout(Stdio::piped());
    };
    let why = "a sibling is returned without its pipes";
    refuse(&pipe, Step::Stdout, "spawn_sibling", why);
}

#[test]
fn the_init_of_a_pid_namespace_has_no_siblings() {
    let name = "the_init_of_a_pid_namespace_has_no_siblings";
    let wrap = own_pids();
    if wrap.is_empty() {
        return skip(name, "no PID namespace can be created");
    }
    if !inside(name, &wrap) {
        return;
    }
    assert_eq!(process::id(), 1);
    let error = Command::new("true").spawn_sibling().unwrap_err();
    assert_eq!(error.step(), Step::Clone, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{error}");
    assert!(error.to_string().contains("has no siblings"), "{error}");
    assert!(!has_children());
}

#[test]
fn a_hook_of_a_sibling_fails_or_dies_by_name() {
    let name = "a_hook_of_a_sibling_fails_or_dies_by_name";
    if !in_own_pids(name) {
        return;
    }
    let others = with_helper(|| {
        let mut fails = Command::new("true");
        let errno = || offshoot::Errno::from_raw_os_error(7);
        // SAFETY: the hook makes no call.
        unsafe { fails.pre_exec(move |_| Err(errno())) };
        let error = fails.spawn_sibling().unwrap_err();
        assert_eq!(error.step(), Step::PreExec);
        assert_eq!(error.raw_os_error(), Some(7));
    });
    assert_eq!(others, [exited(FAILED)]);
    let others = with_helper(|| {
        let mut dies = Command::new("true");
        let die = || {
            // SAFETY: ends the calling process, which is the child.
            unsafe { libc::raise(libc::SIGKILL) };
        };
        // SAFETY: the hook makes one call that is safe after fork.
        unsafe {
            dies.pre_exec(move |_| {
                die();
                Ok(())
            })
        };
        let error = dies.spawn_sibling().unwrap_err();
        assert_eq!(error.step(), Step::PreExec, "{error}");
        assert_eq!(error.signal(), Some(libc::SIGKILL), "{error}");
    });
    assert_eq!(others, [libc::SIGKILL]);
}
