//! Halves: a hook forks, and each half ends in every way: whatever the order
//! of events, spawn is `Ok` and the program runs, once, or it is an error and
//! nothing runs.
#![allow(unsafe_code, reason = "hooks that fork")]

mod util;

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Errno, HookContext, Stdio};
use util::{alone, each_of, fork, has_children};

/// Those that have hooks in memory of their own.
const COPIES: [Engine; 2] = [Engine::Copied, Engine::Pipe];

/// How the half that is the child ends its hook; and how the fork does.
#[derive(Clone, Copy, Debug)]
enum Parent {
    Leaves(i32),
    LeavesLate(i32),
    Dies,
    DiesLate,
    Stays,
    Fails,
    GoesOn,
}

#[derive(Clone, Copy, Debug)]
enum Fork {
    Comes,
    ComesLate,
    Fails,
    FailsLate,
    Panics,
}

#[derive(Clone, Copy, Debug)]
enum By {
    Call,
    Libc,
    Twice,
}

const PARENTS: [Parent; 9] = [
    Parent::Leaves(0),
    Parent::Leaves(3),
    Parent::LeavesLate(0),
    Parent::LeavesLate(3),
    Parent::Dies,
    Parent::DiesLate,
    Parent::Stays,
    Parent::Fails,
    Parent::GoesOn,
];

const FORKS: [Fork; 5] =
    [Fork::Comes, Fork::ComesLate, Fork::Fails, Fork::FailsLate, Fork::Panics];

const BYS: [By; 3] = [By::Call, By::Libc, By::Twice];

const FAILED: Result<(), Errno> = Err(Errno::from_raw_os_error(libc::EXDEV));

fn late() {
    // SAFETY: sleeps.
    unsafe { libc::usleep(40_000) };
}

fn die() -> ! {
    // SAFETY: kills this process only.
    unsafe { libc::raise(libc::SIGKILL) };
    // SAFETY: ends it, were it not dead.
    unsafe { libc::_exit(9) }
}

/// Forks, and says whether this is the half that is the child.
fn is_child(by: By) -> bool {
    match by {
        By::Call => fork::raw() != 0,
        // SAFETY: no other thread runs in this copy of the parent.
        By::Libc => unsafe { libc::fork() != 0 },
        By::Twice if fork::raw() != 0 => true,
        // SAFETY: ends the half in between.
        By::Twice if fork::raw() != 0 => unsafe { libc::_exit(0) },
        By::Twice => false,
    }
}

fn parent_half(how: Parent) -> Result<(), Errno> {
    match how {
        // SAFETY: ends the parent half.
        Parent::Leaves(code) => unsafe { libc::_exit(code) },
        Parent::LeavesLate(code) => {
            late();
            // SAFETY: ends the parent half.
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
        Parent::GoesOn => Ok(()),
    }
}

fn fork_half(how: Fork) -> Result<(), Errno> {
    match how {
        Fork::Comes => Ok(()),
        Fork::ComesLate => {
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

/// What spawn says of a hook that forks is so: `Ok` and the program ran,
/// once, or an error and it did not. Whether it is `Ok`.
fn is_so(engine: Engine, what: &str, command: &mut Command) -> bool {
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::CLOEXEC).unwrap();
    command.args(["-c", "echo ran"]).stdout(write);
    let begun = Instant::now();
    let made = command.spawn();
    assert!(begun.elapsed() < Duration::from_secs(30), "{engine} {what}");
    command.stdout(Stdio::inherit());
    let mut file = File::from(read);
    let mut text = String::new();
    let ok = made.is_ok();
    if let Ok(mut child) = made {
        let mut first = [0; 4];
        file.read_exact(&mut first).expect(what);
        // The half that stays.
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

/// Whether spawn is `Ok`, where that does not depend on who is first.
fn sure(parent: Parent, fork: Fork) -> Option<bool> {
    let comes = matches!(fork, Fork::Comes | Fork::ComesLate);
    match (parent, comes) {
        // A fork has a second then, or less than it may take.
        (Parent::Leaves(0) | Parent::LeavesLate(0), _) => Some(comes),
        (Parent::Stays, _) => Some(comes),
        (Parent::Fails, false) => Some(false),
        (Parent::GoesOn, true) => Some(true),
        (Parent::GoesOn | Parent::Fails, _) => None,
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
                // SAFETY: forks, sleeps and ends.
                unsafe {
                    sh.pre_exec(move |_| match is_child(by) {
                        true => parent_half(parent),
                        false => fork_half(fork),
                    });
                }
                let ok = is_so(engine, &what, &mut sh);
                if let Some(sure) = sure(parent, fork) {
                    assert_eq!(ok, sure, "{engine} {what}");
                }
            }
        }
    });
}

/// As often as it takes to meet every order of events.
#[test]
fn hundreds_of_forking_hooks_each_run_the_program_or_fail() {
    let name = "hundreds_of_forking_hooks_each_run_the_program_or_fail";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let quick = [Parent::Dies, Parent::Fails, Parent::Leaves(3)];
    each_of(&COPIES, |engine| {
        for n in 0..500usize {
            let parent =
                [quick[n % 3], Parent::GoesOn][usize::from(n % 7 == 0)];
            let fork = [Fork::Comes, Fork::Fails][usize::from(n % 5 == 0)];
            let by = BYS[n / 3 % 3];
            let mut sh = Command::new("/bin/sh");
            sh.engine(engine);
            // SAFETY: forks and ends.
            unsafe {
                sh.pre_exec(move |_| match is_child(by) {
                    true => parent_half(parent),
                    false => fork_half(fork),
                });
            }
            is_so(engine, &format!("{parent:?} {fork:?} {by:?}"), &mut sh);
        }
    });
}

/// The halves come apart in the first hook, and one ends in the second.
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
            // Each half has a copy.
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
                true => parent_half(parent),
                false => fork_half(fork),
            };
            // SAFETY: forks.
            unsafe { sh.pre_exec(first) };
            // SAFETY: sleeps and ends.
            unsafe { sh.pre_exec(second) };
            is_so(engine, &format!("{parent:?} {fork:?}"), &mut sh);
        }
    });
}

/// A program that is not there is an error, whoever comes to it.
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
            // SAFETY: forks, sleeps and ends.
            unsafe {
                lost.pre_exec(move |_| match is_child(By::Libc) {
                    true => parent_half(parent),
                    false => Ok(()),
                });
            }
            let what = format!("{parent:?}");
            assert!(!is_so(engine, &what, &mut lost), "{engine} {what}");
        }
    });
}

/// In the parent's memory a fork never runs the program.
#[test]
fn a_fork_in_a_shared_hook_never_runs_the_program() {
    let name = "a_fork_in_a_shared_hook_never_runs_the_program";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    // The caller sleeps as long as the half that is the child lives.
    for parent in PARENTS {
        if matches!(parent, Parent::Stays) {
            continue;
        }
        for fork in &FORKS[..4] {
            let fork = *fork;
            let mut sh = Command::new("/bin/sh");
            // SAFETY: forks by a raw call, sleeps and ends.
            unsafe {
                sh.pre_exec_shared(move |_| match is_child(By::Call) {
                    true => parent_half(parent),
                    false => fork_half(fork),
                });
            }
            let what = format!("{parent:?} {fork:?}");
            let ok = is_so(Engine::Suspended, &what, &mut sh);
            assert_eq!(ok, matches!(parent, Parent::GoesOn), "{what}");
        }
    }
}
