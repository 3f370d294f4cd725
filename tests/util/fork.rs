//! Fork: processes that a test creates without the library.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};
use std::{io, process, thread};

/// Forks by a raw system call, without libc's atfork handlers; 0 in the fork.
pub fn raw() -> i64 {
    let flags = libc::c_long::from(libc::SIGCHLD);
    // SAFETY: a clone without memory or a stack of its own is a fork.
    unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }
}

/// Forks; 0 in the child, which ends by `exit`.
pub fn fork() -> libc::pid_t {
    // SAFETY: the tests fork where no other thread holds a lock that the
    // child would wait for.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    pid
}

/// Exits the child of a fork, without exit handlers.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Waits for a child and returns its status.
pub fn reap(pid: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: writes one int.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// Ends the child of a fork with the code that `child` returns. A panic would
/// end its only thread, which libc makes an exit with code 0: it aborts.
pub fn end_with(child: impl FnOnce() -> i32) -> ! {
    match panic::catch_unwind(AssertUnwindSafe(child)) {
        Ok(code) => exit(code),
        Err(_) => process::abort(),
    }
}

/// Forks, runs `child` in the fork, which exits with the code that `child`
/// returns, and returns the status.
pub fn forked(child: impl FnOnce() -> i32) -> i32 {
    let pid = fork();
    if pid == 0 {
        end_with(child);
    }
    reap(pid)
}

/// As `forked`; `None` if it has not ended within `limit`, and it is killed.
pub fn forked_within(
    limit: Duration,
    child: impl FnOnce() -> i32,
) -> Option<i32> {
    let begun = Instant::now();
    let pid = fork();
    if pid == 0 {
        end_with(child);
    }
    let mut status = -1;
    // SAFETY: writes one int.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } == 0 {
        if begun.elapsed() > limit {
            // SAFETY: a child that has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            reap(pid);
            return None;
        }
        thread::sleep(Duration::from_millis(1));
    }
    Some(status)
}
