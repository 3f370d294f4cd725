//! Detached: a fault in a child that `detach` makes is the same error as in
//! one that `spawn` makes, and leaves neither process nor descriptor.

use offshoot::{Command, Detached, Engine, Error};
use rustix::event::{PollFd, PollFlags, poll};

use crate::corpus::{Case, cases};
use crate::in_each_engine;
use crate::supervisor::{Fault, Made, Supervisor, watch};
use crate::util::{State, fork, has_children};

const DETACHING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

const FAULTS: [Fault; 3] =
    [Fault::Errno(libc::EPERM), Fault::Errno(libc::EMFILE), Fault::Kill];

type Target = Option<(usize, Fault)>;

/// Whether the program ended well, or the text of the error.
type Ended = Result<bool, String>;

/// The command of a case, as the leader of a session in both ways; `None` if
/// `detach` refuses it.
fn command(case: &Case, engine: Engine) -> Option<Command> {
    let mut command = Command::new("/bin/true");
    (case.options)(&mut command);
    command.engine(engine);
    let _plan = command.detach_plan().ok()?;
    command.setsid(true);
    Some(command)
}

fn spawn(command: &mut Command) -> Result<bool, Error> {
    Ok(command.spawn()?.wait()?.success())
}

/// As `spawn`: the program is a child of this process in the end, which is a
/// subreaper.
fn detach(command: &mut Command) -> Result<bool, Error> {
    let program: Detached = command.detach()?;
    let mut end = [PollFd::new(program.pidfd().unwrap(), PollFlags::IN)];
    while poll(&mut end, None) == Err(rustix::io::Errno::INTR) {}
    Ok(fork::reap(program.id().try_into().unwrap()) == 0)
}

/// Runs once with this fault, in a thread that remembers no rejected call.
fn run(
    (case, engine): (&Case, Engine),
    target: Target,
    aim: fn(&Supervisor, Target),
    run: fn(&mut Command) -> Result<bool, Error>,
) -> (Ended, Vec<Made>) {
    watch(|supervisor| {
        let mut command = command(case, engine).unwrap();
        let before = State::now();
        aim(supervisor, target);
        let ended = run(&mut command);
        assert!(!has_children(), "{}, {engine}, {target:?}", case.name);
        assert_eq!(State::now(), before, "{}, {engine}", case.name);
        (ended.map_err(|error| error.to_string()), supervisor.calls())
    })
}

/// Injects each fault into each call, and returns how many there are.
fn every_call(case: &Case, engine: Engine) -> usize {
    let of = (case, engine);
    let both = |target| {
        let spawned = run(of, target, Supervisor::aim, spawn);
        let detached = run(of, target, Supervisor::aim_detached, detach);
        (spawned, detached)
    };
    let (spawned, detached) = both(None);
    assert_eq!([&spawned.0, &detached.0], [&Ok(true); 2], "{}", case.name);
    let numbers = |made: &[Made]| -> Vec<_> {
        made.iter().map(|(number, _)| *number).collect()
    };
    let calls = numbers(&spawned.1);
    assert_eq!(numbers(&detached.1), calls, "{}, {engine}", case.name);
    for (n, number) in (1..).zip(calls.iter().copied()) {
        // A legacy clone resets 62 signals by the same two calls.
        let times = calls[..n].iter().filter(|one| **one == number).count();
        if number == libc::SYS_rt_sigaction && times > 3 {
            continue;
        }
        for fault in FAULTS {
            let (spawned, detached) = both(Some((n, fault)));
            let name = (case.name, engine, n, number, fault);
            assert_eq!(detached.0, spawned.0, "{name:?}");
        }
    }
    calls.len()
}

#[test]
fn a_fault_is_the_same_error_through_detach_as_through_spawn() {
    let name = "a_fault_is_the_same_error_through_detach_as_through_spawn";
    let name = format!("detached::{name}");
    let calls = in_each_engine(&name, &DETACHING, every_plan);
    assert!(calls.is_none_or(|calls| calls > 200), "{calls:?}");
}

/// How many calls all plans make that can detach with this engine.
fn every_plan(own: &str) -> usize {
    // SAFETY: changes a flag of this process.
    let set = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert_eq!(set, 0);
    let mut calls = 0;
    let engine = DETACHING.iter().find(|engine| engine.to_string() == own);
    let engine = *engine.unwrap();
    for case in cases().filter(|case| case.engines.contains(&engine)) {
        if command(case, engine).is_some() {
            calls += every_call(case, engine);
        }
    }
    calls
}
