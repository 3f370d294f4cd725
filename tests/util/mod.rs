//! Helpers of all test files: engines, the reporter, a lock for tests of the
//! whole process, and tests that run again in their own process.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each file uses its part"
)]
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

pub mod attributes;
pub mod clean;
pub mod elf;
pub mod filter;
pub mod fork;
pub mod fuse;
mod limit;
pub mod no_pidfd;
pub mod notify;
pub mod parent_state;
pub mod place;
pub mod reporter;
mod run;
mod scratch;
pub mod search;
mod skip;
pub mod slow;
pub mod source;

use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{env, fs};

pub use limit::{limit, limit_with};
use offshoot::{Command, Engine};
pub use run::{fallbacks, report, reporter, run};
pub use scratch::scratch;
pub use skip::skip;

pub const ENGINES: [Engine; 4] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied, Engine::Pipe];

/// The engines with private memory.
pub const PRIVATE: [Engine; 3] =
    [Engine::Isolated, Engine::Copied, Engine::Pipe];

/// The engines that need no helper.
pub const WITHOUT_HELPER: [Engine; 3] =
    [Engine::Suspended, Engine::Copied, Engine::Pipe];

thread_local! {
    /// The engine that a test body runs with.
    pub static ENGINE: Cell<Engine> = const { Cell::new(Engine::Suspended) };
}

/// Runs a test body with every engine.
#[track_caller]
pub fn each_engine(test: impl Fn(Engine)) {
    // A run of its own, as few options are not for it.
    match env::var("OFFSHOOT_TEST_ENGINE").as_deref() {
        Ok("concurrent") => each_of(&[Engine::Concurrent], test),
        _ => each_of(&ENGINES, test),
    }
}

#[track_caller]
pub fn each_of(engines: &[Engine], test: impl Fn(Engine)) {
    let _alone = alone();
    for engine in engines {
        ENGINE.set(*engine);
        test(*engine);
    }
    ENGINE.set(Engine::Suspended);
}

thread_local! {
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// A guard of the lock; the inner guard of a nested call is `None`.
pub struct Alone(Option<MutexGuard<'static, ()>>);

/// Takes the lock of tests that look at the whole process (descriptors,
/// children, signals), as does every test that runs with all engines. A
/// thread that holds it may take it again.
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    if LOCKED.replace(true) {
        return Alone(None);
    }
    Alone(Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Drop for Alone {
    fn drop(&mut self) {
        if self.0.is_some() {
            LOCKED.set(false);
        }
    }
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: returns a number and writes no memory.
    unsafe { libc::geteuid() == 0 }
}

pub fn dumpable() -> i32 {
    // SAFETY: returns a number and writes no memory.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

/// A copy of a descriptor at `least` or above, which exec does not close.
pub fn inheritable(file: &fs::File, least: RawFd) -> OwnedFd {
    // SAFETY: duplicates an open descriptor.
    let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, least) };
    assert!(fd >= least);
    // SAFETY: the descriptor is new and has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Writes an executable file.
pub fn program(path: &std::path::Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A command that runs the reporter with this engine.
pub fn reporter_with(engine: Engine) -> Command {
    let mut command = reporter();
    command.engine(engine);
    command
}

/// Adds descriptors by number, as pairs of target and source; a pair of equal
/// numbers is inherited.
pub fn raw_fds(command: &mut Command, map: &[(RawFd, RawFd)]) {
    for (target, source) in map.iter().copied() {
        if target == source {
            // SAFETY: the tests pass numbers that stay open, or stay closed.
            unsafe { command.inherit_raw_fd(source) };
        } else {
            // SAFETY: as above.
            unsafe { command.raw_fd(target, source) };
        }
    }
}

const INSIDE: &str = "OFFSHOOT_INSIDE";

/// Whether this is the process that `inside` has started for a test.
pub fn is_inside(test: &str) -> bool {
    env::var_os(INSIDE).is_some_and(|name| name == test)
}

/// Runs a test again as the only one in a new process, where this returns
/// true; `wrap` is a program, with arguments, that starts the new process.
#[track_caller]
pub fn inside(test: &str, wrap: &[&str]) -> bool {
    outside(test, wrap).is_none()
}

/// As `inside`: returns `None` in the new process, and its output in this one.
/// Files in its temporary directory are removed with those of this process.
#[track_caller]
pub fn outside(test: &str, wrap: &[&str]) -> Option<String> {
    if is_inside(test) {
        return None;
    }
    let _alone = alone();
    let exe = env::current_exe().unwrap();
    let exe = exe.to_str().unwrap();
    let own = scratch(&format!("inside-{test}"));
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(&own, everybody).unwrap();
    let run = ["--exact", test, "--nocapture", "--test-threads=1"];
    let words: Vec<&str> = wrap.iter().copied().chain([exe]).collect();
    let output = std::process::Command::new(words[0])
        .args(&words[1..])
        .args(run)
        .env(INSIDE, test)
        .env("TMPDIR", own)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    for skip in errors.lines().filter(|line| line.starts_with("SKIP ")) {
        io::stderr().write_all(format!("{skip}\n").as_bytes()).unwrap();
    }
    assert!(ran, "inside: {}\n{text}\n{errors}", output.status);
    Some(text.into_owned())
}

/// The command that starts a program in a new PID namespace; empty where this
/// user may not create one.
pub fn own_pids() -> Vec<&'static str> {
    let words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let user = !is_root();
    let mut words = words.to_vec();
    if user {
        words.insert(1, "--map-root-user");
    }
    let works = std::process::Command::new(words[0])
        .args(&words[1..])
        .arg("true")
        .status();
    if works.is_ok_and(|status| status.success()) { words } else { vec![] }
}

/// Whether this is the process of a PID namespace in which the test runs. The
/// namespace's init is a shell, which reaps the orphans.
pub fn in_own_pids(test: &str) -> bool {
    in_own_process(test, &["sh", "-c", "\"$@\"; exit $?", "sh"])
}

/// Whether this is the process of a PID namespace in which the test runs, which
/// `wrap` starts.
pub fn in_own_process(test: &str, wrap: &[&'static str]) -> bool {
    let mut words = own_pids();
    if words.is_empty() {
        skip(test, "no PID namespace can be created");
        return false;
    }
    words.extend(wrap);
    inside(test, &words)
}

/// State of this process that a failed spawn must not change.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    descriptors: Vec<(String, String)>,
    mask: String,
    dumpable: i32,
}

impl State {
    pub fn now() -> State {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find(|l| l.starts_with("SigBlk:"));
        let mask = mask.unwrap().to_string();
        let descriptors = reporter::descriptors();
        State { descriptors, mask, dumpable: dumpable() }
    }
}

/// Whether this process has a child of any kind, reaped or not.
pub fn has_children() -> bool {
    let how = libc::WEXITED | libc::WNOHANG | libc::__WALL | libc::WNOWAIT;
    // SAFETY: all zeros is a siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes one siginfo.
    let done = unsafe { libc::waitid(libc::P_ALL, 0, &mut info, how) };
    let error = io::Error::last_os_error().raw_os_error();
    done == 0 || error != Some(libc::ECHILD)
}
