//! Fork: processes that a test makes without the library.

use std::io;

/// Forks by a raw call, which runs no handler of libc's; 0 in the fork.
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

/// Ends the child of a fork, without what Rust and libc do at an exit.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Waits for a child, and returns its status.
pub fn reap(pid: libc::pid_t) -> i32 {
    let mut status = -1;
    // SAFETY: writes one int.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// The status of a fork that runs `child` and exits with the code that this
/// returns.
pub fn forked(child: impl FnOnce() -> i32) -> i32 {
    let pid = fork();
    if pid == 0 {
        exit(child());
    }
    reap(pid)
}
