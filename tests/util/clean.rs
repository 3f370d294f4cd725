//! Checks that a failed spawn leaves nothing behind: no child, descriptor,
//! changed mask or dumpable flag, and no SIGCHLD.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io, thread};

use offshoot::{Command, Engine, Error, Step};

use super::{ENGINE, State, has_children};

static CHILD_SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    CHILD_SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// Whether a signal waits for a thread of this process that takes it.
fn is_pending(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let set = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
    set & 1 << (signal - 1) != 0
}

/// Runs a closure that must fail, and checks that it left nothing behind. The
/// caller holds the lock of `alone`.
pub fn clean(fail: impl FnOnce() -> Result<(), Error>) -> Error {
    let handler = count as extern "C" fn(libc::c_int);
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGCHLD, handler as usize) };
    assert!(!has_children(), "a child of an earlier test");
    // The SIGCHLD of a child that was reaped before may wait for its thread.
    while is_pending(libc::SIGCHLD) {
        thread::yield_now();
    }
    let (before, signals) =
        (State::now(), CHILD_SIGNALS.load(Ordering::SeqCst));
    let error = fail().expect_err("it must fail");
    assert_eq!(State::now(), before, "{error}");
    assert!(!has_children(), "a child is left after: {error}");
    // Children of the pipe engine send SIGCHLD from the start, those of the
    // isolated engine from their first exec on.
    if ![Engine::Pipe, Engine::Isolated].contains(&ENGINE.get()) {
        assert_eq!(CHILD_SIGNALS.load(Ordering::SeqCst), signals, "{error}");
    }
    error
}

pub fn spawn(mut command: Command) -> impl FnOnce() -> Result<(), Error> {
    move || command.spawn().map(drop)
}

pub fn command(program: impl AsRef<Path>, engine: Engine) -> Command {
    let mut command = Command::new(program.as_ref());
    command.engine(engine);
    command
}

pub fn isolated(program: &str) -> Command {
    command(program, Engine::Isolated)
}

/// Asserts the step, its operand and the errno, exactly.
#[track_caller]
pub fn assert_error(
    error: &Error,
    step: Step,
    operand: Option<&str>,
    errno: i32,
) {
    assert_eq!(error.step(), step, "{error}");
    let seen = error.operand().map(|word| word.to_str().unwrap());
    assert_eq!(seen, operand, "{error}");
    assert_eq!(error.raw_os_error(), Some(errno), "{error}");
    assert_eq!(error.signal(), None);
    let kind = io::Error::from_raw_os_error(errno).kind();
    assert_eq!(error.kind(), kind);
}

/// A refusal before the clone: the step, its operand and a part of the
/// reason.
#[track_caller]
pub fn refused(error: &Error, step: Step, operand: Option<&str>, why: &str) {
    assert_eq!(error.step(), step, "{error}");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    assert_eq!(error.raw_os_error(), None, "{error}");
    let seen = error.operand().map(|word| word.to_str().unwrap());
    assert_eq!(seen, operand, "{error}");
    assert!(error.to_string().contains(why), "{error}");
}
