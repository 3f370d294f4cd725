//! Races of hooks that fork: the child and the fork each end in every way. In
//! any order of events, spawn returns `Ok` and the program runs once, or spawn
//! returns an error and nothing runs.
#![allow(unsafe_code, reason = "hooks that fork")]

mod util;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Errno, HookContext, Stdio};
use util::{alone, each_of, fork, has_children};

/// The engines that run hooks in private memory.
const COPIES: [Engine; 2] = [Engine::Copied, Engine::Pipe];

/// How the child, which called fork, ends its hook.
#[derive(Clone, Copy, Debug)]
enum Parent {
    Exits(i32),
    ExitsLate(i32),
    Dies,
    DiesLate,
    Stays,
    Fails,
    Returns,
}

/// How the fork ends its hook.
#[derive(Clone, Copy, Debug)]
enum Fork {
    Returns,
    ReturnsLate,
    Fails,
    FailsLate,
    Panics,
}

/// How the hook forks: by a raw call, by libc, or twice, as daemons do.
#[derive(Clone, Copy, Debug)]
enum By {
    Call,
    Libc,
    Twice,
}

const PARENTS: [Parent; 9] = [
    Parent::Exits(0),
    Parent::Exits(3),
    Parent::ExitsLate(0),
    Parent::ExitsLate(3),
    Parent::Dies,
    Parent::DiesLate,
    Parent::Stays,
    Parent::Fails,
    Parent::Returns,
];

const FORKS: [Fork; 5] = [
    Fork::Returns,
    Fork::ReturnsLate,
    Fork::Fails,
    Fork::FailsLate,
    Fork::Panics,
];

const BYS: [By; 3] = [By::Call, By::Libc, By::Twice];

const FAILED: Result<(), Errno> = Err(Errno::from_raw_os_error(libc::EXDEV));

fn late() {
    // SAFETY: sleeps.
    unsafe { libc::usleep(40_000) };
}

fn die() -> ! {
    // SAFETY: kills this process only.
    unsafe { libc::raise(libc::SIGKILL) };
    // SAFETY: never reached; ends this process.
    unsafe { libc::_exit(9) }
}

/// Forks; returns whether this process is the child that called fork.
fn is_child(by: By) -> bool {
    match by {
        By::Call => fork::raw() != 0,
        // SAFETY: no other thread runs in this copy of the parent.
        By::Libc => unsafe { libc::fork() != 0 },
        By::Twice if fork::raw() != 0 => true,
        // SAFETY: ends the process in between.
        By::Twice if fork::raw() != 0 => unsafe { libc::_exit(0) },
        By::Twice => false,
    }
}

fn end_child(how: Parent) -> Result<(), Errno> {
    match how {
        // SAFETY: ends the child.
        Parent::Exits(code) => unsafe { libc::_exit(code) },
        Parent::ExitsLate(code) => {
            late();
            // SAFETY: ends the child.
            unsafe { libc::_exit(code) }
        }
        Parent::Dies => die(),
        Parent::DiesLate => {
            late();
            die()
        }
        Parent::Stays => loop {
            // SAFETY: sleeps.
            unsafe { libc::pause() };
        },
        Parent::Fails => FAILED,
        Parent::Returns => Ok(()),
    }
}

fn end_fork(how: Fork) -> Result<(), Errno> {
    match how {
        Fork::Returns => Ok(()),
        Fork::ReturnsLate => {
            late();
            Ok(())
        }
        Fork::Fails => FAILED,
        Fork::FailsLate => {
            late();
            FAILED
        }
        Fork::Panics => panic!("in a fork"),
    }
}

/// Asserts that the program ran once if spawn is `Ok`, and did not run if it
/// is an error. Returns whether spawn is `Ok`.
fn check(engine: Engine, what: &str, command: &mut Command) -> bool {
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::CLOEXEC).unwrap();
    command.args(["-c", "echo ran"]).stdout(write);
    let begun = Instant::now();
    let spawned = command.spawn();
    assert!(begun.elapsed() < Duration::from_secs(30), "{engine} {what}");
    command.stdout(Stdio::inherit());
    let mut file = File::from(read);
    let mut text = String::new();
    let ok = spawned.is_ok();
    if let Ok(mut child) = spawned {
        let mut first = [0; 4];
        file.read_exact(&mut first).expect(what);
        // The child may still be there, if the fork is the program.
        let _ = child.kill();
        child.wait().unwrap();
        text = String::from_utf8(first.to_vec()).unwrap();
    }
    file.read_to_string(&mut text).unwrap();
    let ran = if ok { "ran\n" } else { "" };
    assert_eq!(text, ran, "{engine} {what}");
    assert!(!has_children(), "{engine} {what}");
    ok
}

/// Whether spawn is `Ok`, where that does not depend on the order of events.
fn expected(parent: Parent, fork: Fork) -> Option<bool> {
    let returns = matches!(fork, Fork::Returns | Fork::ReturnsLate);
    match (parent, returns) {
        // The parent waits up to a second for the fork, which is faster.
        (Parent::Exits(0) | Parent::ExitsLate(0), _) => Some(returns),
        (Parent::Stays, _) => Some(returns),
        (Parent::Fails, false) => Some(false),
        (Parent::Returns, true) => Some(true),
        (Parent::Returns | Parent::Fails, _) => None,
        (_, false) => Some(false),
        (_, true) => None,
    }
}

#[test]
fn spawn_is_ok_only_if_the_program_of_a_forking_hook_ran() {
    let name = "spawn_is_ok_only_if_the_program_of_a_forking_hook_ran";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    std::panic::set_hook(Box::new(|_| ()));
    each_of(&COPIES, |engine| {
        for (parent, fork) in
            PARENTS.iter().flat_map(|p| FORKS.map(|f| (*p, f)))
        {
            for by in BYS {
                let what = format!("{parent:?} {fork:?} {by:?}");
                let mut sh = Command::new("/bin/sh");
                sh.engine(engine);
                // SAFETY: forks, sleeps and exits.
                unsafe {
                    sh.pre_exec(move |_| match is_child(by) {
                        true => end_child(parent),
                        false => end_fork(fork),
                    });
                }
                let ok = check(engine, &what, &mut sh);
                if let Some(expected) = expected(parent, fork) {
                    assert_eq!(ok, expected, "{engine} {what}");
                }
            }
        }
    });
}

/// Often enough to meet every order of events.
#[test]
fn hundreds_of_forking_hooks_each_run_the_program_or_fail() {
    let name = "hundreds_of_forking_hooks_each_run_the_program_or_fail";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let quick = [Parent::Dies, Parent::Fails, Parent::Exits(3)];
    each_of(&COPIES, |engine| {
        for n in 0..500usize {
            let parent =
                [quick[n % 3], Parent::Returns][usize::from(n % 7 == 0)];
            let fork = [Fork::Returns, Fork::Fails][usize::from(n % 5 == 0)];
            let by = BYS[n / 3 % 3];
            let mut sh = Command::new("/bin/sh");
            sh.engine(engine);
            // SAFETY: forks and exits.
            unsafe {
                sh.pre_exec(move |_| match is_child(by) {
                    true => end_child(parent),
                    false => end_fork(fork),
                });
            }
            check(engine, &format!("{parent:?} {fork:?} {by:?}"), &mut sh);
        }
    });
}

/// The first hook forks, and both processes run the second hook.
#[test]
fn a_hook_may_fork_before_another_hook() {
    let name = "a_hook_may_fork_before_another_hook";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    each_of(&COPIES, |engine| {
        for (parent, fork) in
            PARENTS.iter().flat_map(|p| FORKS[..4].iter().map(|f| (*p, *f)))
        {
            // Each process has its own copy.
            let child = Arc::new(AtomicBool::new(true));
            let seen = child.clone();
            let mut sh = Command::new("/bin/sh");
            sh.engine(engine);
            let first = move |_: &mut HookContext<'_>| {
                child.store(is_child(By::Call), Ordering::Relaxed);
                Ok(())
            };
            let second = move |_: &mut HookContext<'_>| match seen
                .load(Ordering::Relaxed)
            {
                true => end_child(parent),
                false => end_fork(fork),
            };
            // SAFETY: forks.
            unsafe { sh.pre_exec(first) };
            // SAFETY: sleeps and exits.
            unsafe { sh.pre_exec(second) };
            check(engine, &format!("{parent:?} {fork:?}"), &mut sh);
        }
    });
}

/// A missing program is an error, whichever process calls exec.
#[test]
fn a_fork_that_cannot_exec_is_an_error() {
    let name = "a_fork_that_cannot_exec_is_an_error";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    each_of(&COPIES, |engine| {
        for parent in PARENTS {
            let mut lost = Command::new("/no/such");
            lost.engine(engine);
            // SAFETY: forks, sleeps and exits.
            unsafe {
                lost.pre_exec(move |_| match is_child(By::Libc) {
                    true => end_child(parent),
                    false => Ok(()),
                });
            }
            let what = format!("{parent:?}");
            assert!(!check(engine, &what, &mut lost), "{engine} {what}");
        }
    });
}

/// In shared memory a fork never runs the program.
#[test]
fn a_fork_in_a_shared_hook_never_runs_the_program() {
    let name = "a_fork_in_a_shared_hook_never_runs_the_program";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // The caller sleeps until the child ends, so it must end.
    for parent in PARENTS {
        if matches!(parent, Parent::Stays) {
            continue;
        }
        for fork in &FORKS[..4] {
            let fork = *fork;
            let mut sh = Command::new("/bin/sh");
            // SAFETY: forks by a raw call, sleeps and exits.
            unsafe {
                sh.pre_exec_shared(move |_| match is_child(By::Call) {
                    true => end_child(parent),
                    false => end_fork(fork),
                });
            }
            let what = format!("{parent:?} {fork:?}");
            let ok = check(Engine::Suspended, &what, &mut sh);
            assert_eq!(ok, matches!(parent, Parent::Returns), "{what}");
        }
    }
}
