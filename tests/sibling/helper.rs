//! Helper: processes of the sibling tests, and what a parent sees of them.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use offshoot::{Command, Detached, Engine, Stdio};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::util::fork::{self, end_with};
use crate::util::has_children;
pub(crate) use crate::util::in_own_pids;
use crate::util::reporter::descriptors;

pub(crate) const MAKING: [Engine; 3] =
    [Engine::Suspended, Engine::Isolated, Engine::Copied];

/// Runs `helper` in a child of this process.
pub(crate) fn fork_helper(helper: impl FnOnce()) -> i32 {
    let pid = fork::fork();
    if pid == 0 {
        end_with(|| {
            COUNT.store(0, Ordering::SeqCst);
            helper();
            assert!(!has_children());
            assert_eq!(COUNT.load(Ordering::SeqCst), 0, "SIGCHLD");
            0
        });
    }
    pid
}

/// Waits for all children of this process, and returns their ids and statuses.
pub(crate) fn reap_all() -> Vec<(i32, i32)> {
    let mut all = Vec::new();
    loop {
        let mut status = -1;
        // SAFETY: writes one int.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } {
            -1 if last_error() == libc::EINTR => {}
            -1 => break,
            pid => all.push((pid, status)),
        }
    }
    assert_eq!(last_error(), libc::ECHILD);
    all
}

/// Runs `helper` in a child of this process, and returns the statuses of what
/// else became a child of this process meanwhile; none is reaped before the
/// helper has ended.
pub(crate) fn with_helper(helper: impl FnOnce()) -> Vec<i32> {
    assert_eq!(fork::reap(fork_helper(helper)), 0, "the helper");
    reap_all().into_iter().map(|(_, status)| status).collect()
}

/// As `with_helper`, and reaps each as soon as it ends.
pub(crate) fn with_helper_of_busy_parent(helper: impl FnOnce()) -> Vec<i32> {
    let pid = fork_helper(helper);
    let (own, others): (Vec<_>, Vec<_>) =
        reap_all().into_iter().partition(|(ended, _)| *ended == pid);
    assert_eq!(own, [(pid, 0)], "the helper");
    others.into_iter().map(|(_, status)| status).collect()
}

pub(crate) fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap()
}

/// The status of a process that exited with this code.
pub(crate) fn exited(code: i32) -> i32 {
    code << 8
}

/// A child that did not reach its program.
pub(crate) const FAILED: i32 = 127;

pub(crate) static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// Counts the SIGCHLD of this process and of its forks.
pub(crate) fn count_sigchld() {
    let counter = count as extern "C" fn(libc::c_int) as usize;
    // SAFETY: the handler stores one number.
    unsafe { libc::signal(libc::SIGCHLD, counter) };
}

pub(crate) fn command(engine: Engine, program: &str) -> Command {
    let mut command = Command::new(program);
    command.engine(engine).stdin(Stdio::null());
    command
}

pub(crate) fn sleeper(engine: Engine) -> Command {
    let mut sleep = command(engine, "sleep");
    sleep.arg("60");
    sleep
}

/// The parent of a process.
pub(crate) fn parent_of(id: u32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let after = text.rsplit_once(')').unwrap().1;
    after.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Waits for the end; true if the pidfd became readable.
pub(crate) fn ends(program: &Detached) -> bool {
    let mut fds = [PollFd::new(program.pidfd().unwrap(), PollFlags::IN)];
    let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.unwrap() == 1,
        }
    }
}

pub(crate) fn kill(program: &Detached) {
    pidfd_send_signal(program.pidfd().unwrap(), Signal::KILL).unwrap();
    assert!(ends(program));
}

/// The open descriptors but for those that stay open for the next spawn.
pub(crate) fn uncached() -> Vec<(String, String)> {
    let mut all = descriptors();
    all.retain(|(_, file)| !file.starts_with("/memfd:offshoot"));
    all
}
