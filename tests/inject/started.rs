//! Started: a fault in a child that another thread starts is the same error as
//! in one that `spawn` makes, and leaves neither process nor descriptor.

use std::time::Duration;

use offshoot::{Command, Engine, Error, Step};

use crate::corpus::{Case, cases};
use crate::in_each_engine;
use crate::supervisor::{Fault, Made, Supervisor, watch};
use crate::util::{ENGINES, State, has_children};

const FAULTS: [Fault; 2] = [Fault::Errno(libc::EPERM), Fault::Kill];

const LONG: Duration = Duration::from_secs(60);

type Target = Option<(usize, Fault)>;

/// Whether the program ended well, or the text of the error.
type Ended = Result<bool, String>;

fn command(case: &Case, engine: Engine) -> Command {
    let mut command = Command::new("/bin/true");
    (case.options)(&mut command);
    command.engine(engine);
    command
}

fn spawn(command: &mut Command) -> Result<bool, Error> {
    Ok(command.spawn()?.wait()?.success())
}

fn start(command: &mut Command) -> Result<bool, Error> {
    Ok(command.start()?.wait()?.wait()?.success())
}

fn spawn_deadline(command: &mut Command) -> Result<bool, Error> {
    Ok(command.spawn_deadline(LONG)?.wait()?.success())
}

/// Runs once with this fault, in a thread that remembers no rejected call.
fn run(
    (case, engine): (&Case, Engine),
    target: Target,
    aim: fn(&Supervisor, Target),
    run: fn(&mut Command) -> Result<bool, Error>,
) -> (Ended, Vec<Made>) {
    watch(|supervisor| {
        let mut command = command(case, engine);
        let before = State::now();
        aim(supervisor, target);
        let ended = run(&mut command);
        assert!(!has_children(), "{}, {engine}, {target:?}", case.name);
        assert_eq!(State::now(), before, "{}, {engine}", case.name);
        (ended.map_err(|error| error.to_string()), supervisor.calls())
    })
}

/// Whether `start` refuses what a thread's child alone can have.
fn is_refused(case: &Case, engine: Engine) -> bool {
    let refused = [Step::ParentDeathSignal, Step::PtraceTraceme];
    match command(case, engine).start() {
        Ok(starting) => {
            assert!(starting.cancel());
            false
        }
        Err(error) => refused.contains(&error.step()),
    }
}

/// Injects each fault into each call, and returns how many there are.
fn every_call(case: &Case, engine: Engine) -> usize {
    let of = (case, engine);
    let numbers = |made: &[Made]| -> Vec<_> {
        made.iter().map(|(number, _)| *number).collect()
    };
    let (ended, made) = run(of, None, Supervisor::aim, spawn);
    assert_eq!(ended, Ok(true), "{}", case.name);
    let calls = numbers(&made);
    let aim = Supervisor::aim_started;
    for ours in [start, spawn_deadline] {
        let (ended, made) = run(of, None, aim, ours);
        assert_eq!(ended, Ok(true), "{}, {engine}", case.name);
        assert_eq!(numbers(&made), calls, "{}, {engine}", case.name);
    }
    for (n, number) in (1..).zip(calls.iter().copied()) {
        // A legacy clone resets 62 signals by the same two calls.
        let times = calls[..n].iter().filter(|one| **one == number).count();
        if number == libc::SYS_rt_sigaction && times > 3 {
            continue;
        }
        let exec = [libc::SYS_execve, libc::SYS_execveat].contains(&number);
        for fault in FAULTS {
            // With a pipe this one may look like a program that was killed.
            if engine == Engine::Pipe && exec && fault == Fault::Kill {
                continue;
            }
            let target = Some((n, fault));
            let name = (case.name, engine, n, number, fault);
            let spawned = run(of, target, Supervisor::aim, spawn).0;
            assert_eq!(run(of, target, aim, start).0, spawned, "{name:?}");
        }
    }
    calls.len()
}

#[test]
fn a_fault_is_the_same_error_through_start_as_through_spawn() {
    let name = "a_fault_is_the_same_error_through_start_as_through_spawn";
    let name = format!("started::{name}");
    let calls = in_each_engine(&name, &ENGINES, every_plan);
    assert!(calls.is_none_or(|calls| calls > 200), "{calls:?}");
}

/// How many calls all plans make that can be started with this engine.
fn every_plan(own: &str) -> usize {
    let mut calls = 0;
    let engine = ENGINES.iter().find(|engine| engine.to_string() == own);
    let engine = *engine.unwrap();
    for case in cases().filter(|case| case.engines.contains(&engine)) {
        if !is_refused(case, engine) {
            calls += every_call(case, engine);
        }
    }
    calls
}
