//! Sibling: a fault in a child that `spawn_sibling` makes is the same error as
//! in one that `spawn` makes, and the parent gets one process to reap, not two.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use offshoot::{Command, Engine, Error};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::fcntl_dupfd_cloexec;

use crate::corpus::{Case, cases};
use crate::in_each_engine;
use crate::supervisor::{Fault, Made, watch};
use crate::util::{State, fork, has_children};

const MAKING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

/// EPERM: a spawn uses something else where it can.
const FAULTS: [Fault; 2] = [Fault::Errno(libc::EPERM), Fault::Kill];

/// Only the helper of a child that can be waited for makes it.
const MRELEASE: libc::c_long = libc::SYS_process_mrelease;

type Target = Option<(usize, Fault)>;

/// Whether the program ended well, or the text of the error.
type Ended = Result<bool, String>;

/// The command of a case; `None` if `spawn_sibling` refuses it.
fn command(case: &Case, engine: Engine) -> Option<Command> {
    let mut command = Command::new("/bin/true");
    (case.options)(&mut command);
    command.engine(engine);
    let _plan = command.sibling_plan().ok()?;
    Some(command)
}

fn spawn(command: &mut Command) -> Result<bool, Error> {
    Ok(command.spawn()?.wait()?.success())
}

/// The parent sees how it has ended.
fn spawn_sibling(command: &mut Command) -> Result<bool, Error> {
    let program = command.spawn_sibling()?;
    assert!(program.launch().confirmed(), "{command:?}");
    let mut end = [PollFd::new(program.pidfd().unwrap(), PollFlags::IN)];
    while poll(&mut end, None) == Err(rustix::io::Errno::INTR) {}
    Ok(true)
}

/// The process that makes siblings, and its way to tell the parent of one.
struct Helper<W>(W);

impl<W: Read + Write> Helper<W> {
    /// Runs once with this fault, in a thread that remembers no rejected call,
    /// and for a sibling knows that everything works.
    fn run(
        &mut self,
        (case, engine): (&Case, Engine),
        target: Target,
        run: fn(&mut Command) -> Result<bool, Error>,
        is_sibling: bool,
    ) -> (Ended, Vec<Made>) {
        let ended = watch(|supervisor| {
            let mut command = command(case, engine).unwrap();
            if is_sibling {
                assert!(spawn(&mut command).unwrap());
            }
            let before = State::now();
            supervisor.aim(target);
            let ended = run(&mut command);
            assert!(!has_children(), "{}, {engine}, {target:?}", case.name);
            assert_eq!(State::now(), before, "{}, {engine}", case.name);
            (ended.map_err(|error| error.to_string()), supervisor.calls())
        });
        if is_sibling {
            self.0.write_all(b"+").unwrap();
            // The parent has looked at its children before there is another.
            self.0.read_exact(&mut [0]).unwrap();
        }
        ended
    }

    /// Injects each fault into each call, and returns how many there are.
    fn every_call(&mut self, case: &Case, engine: Engine) -> usize {
        let of = (case, engine);
        let (ended, spawned) = self.run(of, None, spawn, false);
        assert_eq!(ended, Ok(true), "{}", case.name);
        let (ended, made) = self.run(of, None, spawn_sibling, true);
        assert_eq!(ended, Ok(true), "{}", case.name);
        let calls: Vec<_> = spawned.iter().map(|(nr, _)| *nr).collect();
        let made: Vec<_> = made.iter().map(|(nr, _)| *nr).collect();
        let own = |nr: &&libc::c_long| **nr != MRELEASE;
        let shared: Vec<_> = calls.iter().filter(own).copied().collect();
        assert_eq!(made, shared, "{}, {engine}", case.name);
        for (n, number) in (1..).zip(calls.iter().copied()) {
            let before = &calls[..n];
            let times = before.iter().filter(|one| **one == number).count();
            // A legacy clone resets 62 signals by the same two calls.
            let thin = number == libc::SYS_rt_sigaction && times > 3;
            if thin || number == MRELEASE {
                continue;
            }
            let nth = before.iter().filter(own).count();
            for fault in FAULTS {
                let (of_spawn, _) =
                    self.run(of, Some((n, fault)), spawn, false);
                let target = Some((nth, fault));
                let (ended, _) = self.run(of, target, spawn_sibling, true);
                let name = (case.name, engine, n, number, fault);
                assert!(
                    is_as_good(&ended, &of_spawn, fault),
                    "{name:?}: {ended:?}, not {of_spawn:?}"
                );
            }
        }
        calls.len()
    }
}

/// Whether the outcome for a sibling is that of a spawn, or its error where
/// the spawn has made another attempt.
fn is_as_good(sibling: &Ended, spawn: &Ended, fault: Fault) -> bool {
    const LOST: &str =
        "the child ended before exec, and its exit status is lost";
    match (sibling, spawn, fault) {
        (Err(text), Ok(true), Fault::Errno(errno)) => {
            let errno = io::Error::from_raw_os_error(errno).to_string();
            text.contains(&errno)
        }
        // An ordinary user is not told how a helper has ended.
        (Err(lost), Err(text), Fault::Kill) if lost.ends_with(LOST) => {
            let step = lost.strip_suffix(LOST).unwrap();
            text.starts_with(step) && text.contains("signal 9")
        }
        _ => sibling == spawn,
    }
}

#[test]
fn a_fault_is_the_same_error_through_spawn_sibling_as_through_spawn() {
    let name =
        "a_fault_is_the_same_error_through_spawn_sibling_as_through_spawn";
    let name = format!("sibling::{name}");
    let calls = in_each_engine(&name, &MAKING, every_plan);
    assert!(calls.is_none_or(|calls| calls > 200), "{calls:?}");
}

/// How many calls all plans make that may be those of a sibling with this
/// engine. A child of this process makes them.
fn every_plan(own: &str) -> usize {
    let engine = *MAKING.iter().find(|it| it.to_string() == own).unwrap();
    let (mut read, write) = UnixStream::pair().unwrap();
    // The cases assign low numbers.
    let high = fcntl_dupfd_cloexec(&write, 200).unwrap();
    drop(write);
    let write = UnixStream::from(high);
    let helper = fork::fork();
    if helper == 0 {
        fork::end_with(|| {
            drop(read);
            let mut helper = Helper(&write);
            let calls: usize = cases()
                .filter(|case| case.engines.contains(&engine))
                .filter(|case| command(case, engine).is_some())
                .map(|case| helper.every_call(case, engine))
                .sum();
            let calls = format!("={calls}");
            (&write).write_all(calls.as_bytes()).unwrap();
            0
        });
    }
    drop(write);
    let (mut byte, mut ended) = ([0], None);
    // Each sibling has ended when the helper tells, and nothing else has.
    while read.read(&mut byte).unwrap() == 1 && byte == *b"+" {
        let mut status = 0;
        // SAFETY: writes one int.
        let mut one =
            unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        if one == helper {
            // After its last one, which ends a moment later.
            ended = Some(status);
            // SAFETY: as above.
            one = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
        }
        assert!(one > 0 && one != helper, "{one} {status}");
        let how = libc::__WALL | libc::WNOHANG;
        // SAFETY: as above.
        let more = unsafe { libc::waitpid(-1, &raw mut status, how) };
        if more == helper {
            ended = Some(status);
        } else if ended.is_none() {
            assert_eq!(more, 0, "a second one, {status}");
        }
        // The helper may have ended after its last one.
        let _ = read.write_all(b"-");
    }
    let calls = io::read_to_string(read).unwrap();
    let ended = ended.unwrap_or_else(|| fork::reap(helper));
    assert_eq!(ended, 0, "the helper");
    assert!(!has_children());
    calls.parse().unwrap()
}
