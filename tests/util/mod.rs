//! What the live tests share: engines, the reporter child, skips, hygiene.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each file uses its part"
)]
#![allow(unsafe_code, reason = "tests ask the kernel what std does not")]

pub mod clean;
pub mod elf;
pub mod filter;
pub mod fork;
mod limit;
pub mod mirror;
mod run;
mod scratch;
pub mod search;
mod skip;
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

/// Those with memory of their own.
pub const PRIVATE: [Engine; 3] =
    [Engine::Isolated, Engine::Copied, Engine::Pipe];

/// Those that run no image in memory.
pub const NO_IMAGE: [Engine; 3] =
    [Engine::Suspended, Engine::Copied, Engine::Pipe];

thread_local! {
    /// The engine that a test body is run through.
    pub static ENGINE: Cell<Engine> = const { Cell::new(Engine::Suspended) };
}

/// Runs a test body through every engine.
#[track_caller]
pub fn each_engine(test: impl Fn(Engine)) {
    each_of(&ENGINES, test);
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
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// The word that nobody else has, until it is dropped.
pub struct Alone(Option<MutexGuard<'static, ()>>);

/// Tests that look at the whole process (descriptors, children, signals) run
/// one at a time, and so does whatever runs through every engine. A thread
/// that has the word already is given it again.
pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    if HELD.replace(true) {
        return Alone(None);
    }
    Alone(Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Drop for Alone {
    fn drop(&mut self) {
        if self.0.is_some() {
            HELD.set(false);
        }
    }
}

/// Whether this is root, who may do what other users may not.
pub fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

pub fn dumpable() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }
}

/// A copy of a descriptor at `least` or above, which exec does not close.
pub fn inheritable(file: &fs::File, least: RawFd) -> OwnedFd {
    // SAFETY: duplicates an open descriptor.
    let fd = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD, least) };
    assert!(fd >= least);
    // SAFETY: the number was just made, for this owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Writes an executable file.
pub fn program(path: &std::path::Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// This test's own program, which reports what it sees.
pub fn mirror(engine: Engine) -> Command {
    let mut command = reporter();
    command.engine(engine);
    command
}

/// Gives descriptors by number, each target its source; the same twice is
/// inherited.
pub fn raw_fds(command: &mut Command, map: &[(RawFd, RawFd)]) {
    for (target, source) in map.iter().copied() {
        if target == source {
            // SAFETY: the tests name numbers that stay open, or stay closed.
            unsafe { command.inherit_raw_fd(source) };
        } else {
            // SAFETY: as above.
            unsafe { command.raw_fd(target, source) };
        }
    }
}

const INSIDE: &str = "OFFSHOOT_INSIDE";

/// Whether this is the process that `inside` has made for a test.
pub fn is_inside(test: &str) -> bool {
    env::var_os(INSIDE).is_some_and(|name| name == test)
}

/// Runs a test again in a process of its own, where it is the only one and
/// this returns true; `wrap` is a program and arguments that start it.
#[track_caller]
pub fn inside(test: &str, wrap: &[&str]) -> bool {
    outside(test, wrap).is_none()
}

/// As `inside`, which is `None` there, and what it wrote here. What it left
/// in its temporary directory is removed with what this process made.
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

/// What starts a program in a PID namespace of its own, where this user may
/// have one.
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

/// What must be the same before and after whatever failed.
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
        let descriptors = mirror::descriptors();
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
