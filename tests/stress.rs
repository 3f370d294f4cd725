//! Stress: another thread's waitpid, ignored and frequent signals, forks
//! without exec and a concurrent setenv. Each test in its own process and,
//! where any child is killed or reaped, in its own PID namespace.
#![allow(unsafe_code, reason = "tests do what other libraries do")]

mod util;

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Stdio, Step};
use util::{PRIVATE, WITHOUT_HELPER, alone, each_of, own_pids};

/// The engines whose failed children no other waitpid can reap.
const SILENT: [Engine; 2] = [Engine::Suspended, Engine::Copied];

#[test]
fn another_threads_waitpid_reaps_no_failed_child() {
    let name = "another_threads_waitpid_reaps_no_failed_child";
    let _alone = alone();
    if !util::inside(name, &own_pids()) {
        return;
    }
    let (done, reaped) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let mut status = 0;
                // SAFETY: writes one int.
                let pid =
                    unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
                reaped.fetch_add(usize::from(pid > 0), Ordering::SeqCst);
            }
        });
        each_of(&SILENT, |engine| {
            for _ in 0..1000 {
                let mut command = Command::new("/nope");
                let error = command.engine(engine).spawn().unwrap_err();
                assert_eq!(error.step(), Step::Exec);
                assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
            }
        });
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(reaped.load(Ordering::SeqCst), 0);
    assert!(!util::has_children());
}

#[test]
fn sigchld_ignored_or_handled_changes_nothing() {
    let name = "sigchld_ignored_or_handled_changes_nothing";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
    let count = count as extern "C" fn(libc::c_int);
    // SAFETY: ignores a signal.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    util::each_engine(|engine| {
        let mut missing = Command::new("/nope");
        let error = missing.engine(engine).spawn().map(drop).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{engine}");
        let mut sh = Command::new("sh");
        sh.args(["-c", "exit 7"]).engine(engine);
        let mut child = sh.spawn().unwrap();
        match child.wait() {
            Ok(status) => assert_eq!(status.code(), Some(7), "{engine}"),
            Err(error) => {
                assert_eq!(error.step(), Step::Wait, "{error}");
                util::skip(name, "no exit code from a pidfd before 6.15");
            }
        }
    });
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGCHLD, count as usize) };
    each_of(&SILENT, |engine| {
        SEEN.store(0, Ordering::SeqCst);
        for _ in 0..50 {
            let mut missing = Command::new("/nope");
            assert!(missing.engine(engine).spawn().is_err());
        }
        assert_eq!(SEEN.load(Ordering::SeqCst), 0, "{engine}");
        let mut true_ = Command::new("/bin/true");
        assert!(true_.engine(engine).status().unwrap().success());
        assert_eq!(SEEN.load(Ordering::SeqCst), 1, "{engine}");
    });
}

/// Another thread forks without exec meanwhile: its children have copies of
/// every descriptor, including the ends of pipes.
#[test]
fn a_fork_without_exec_in_another_thread_never_stalls_a_spawn() {
    let name = "a_fork_without_exec_in_another_thread_never_stalls_a_spawn";
    let _alone = alone();
    if !util::inside(name, &own_pids()) {
        return;
    }
    let done = AtomicBool::new(false);
    let slowest = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                // SAFETY: the child sleeps and ends, by raw calls only.
                let pid = unsafe { libc::fork() };
                if pid == 0 {
                    // SAFETY: sleeps for longer than a spawn may take.
                    unsafe { libc::usleep(700_000) };
                    // SAFETY: ends the child.
                    unsafe { libc::_exit(0) };
                }
                assert!(pid > 0);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let mut slowest = Duration::ZERO;
        for n in 0..400 {
            let engine = WITHOUT_HELPER[n % 3];
            let began = Instant::now();
            let mut command = Command::new("/bin/true");
            let mut child = command.engine(engine).spawn().unwrap();
            slowest = slowest.max(began.elapsed());
            child.wait().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        slowest
    });
    // A stall would last as long as such a fork lives.
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    // SAFETY: reaps all children; they belong to this test.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
}

/// C code changes a variable without std's lock: each child gets the old or
/// the new value, whole.
#[test]
fn a_concurrent_setenv_gives_the_old_or_the_new_value() {
    let name = "a_concurrent_setenv_gives_the_old_or_the_new_value";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    const KEY: &CStr = c"OFFSHOOT_CHANGING";
    let long = CString::new("long".repeat(500)).unwrap();
    let long = long.as_c_str();
    // SAFETY: no other thread of this process changes or reads it yet.
    unsafe { std::env::set_var(KEY.to_str().unwrap(), "short") };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                let value = if n % 2 == 0 { c"short" } else { long };
                // SAFETY: the variable exists, so libc changes one pointer of
                // the environment and frees nothing.
                unsafe { libc::setenv(KEY.as_ptr(), value.as_ptr(), 1) };
            }
        });
        for _ in 0..300 {
            let mut sh = Command::new("/bin/sh");
            sh.args(["-c", "printf %s \"$OFFSHOOT_CHANGING\""]);
            let output = sh.stdin(Stdio::null()).output().unwrap();
            let seen = String::from_utf8(output.stdout).unwrap();
            let whole = seen == "short" || seen == "long".repeat(500);
            assert!(whole, "{seen}");
        }
        done.store(true, Ordering::SeqCst);
    });
}

/// With private memory, signals interrupt the wait of spawn.
#[test]
fn frequent_signals_neither_fail_a_spawn_nor_run_in_a_child() {
    let name = "frequent_signals_neither_fail_a_spawn_nor_run_in_a_child";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    static PARENT: AtomicUsize = AtomicUsize::new(0);
    static IN_CHILD: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn note(_: libc::c_int) {
        // SAFETY: returns a number and writes no memory.
        let own = unsafe { libc::syscall(libc::SYS_getpid) };
        if usize::try_from(own) != Ok(PARENT.load(Ordering::SeqCst)) {
            IN_CHILD.fetch_add(1, Ordering::SeqCst);
        }
    }
    PARENT.store(std::process::id() as usize, Ordering::SeqCst);
    let note = note as extern "C" fn(libc::c_int);
    // SAFETY: the handler reads and adds to atomics.
    unsafe { libc::signal(libc::SIGALRM, note as usize) };
    let every = libc::timeval { tv_sec: 0, tv_usec: 200 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    let none = std::ptr::null_mut();
    // SAFETY: reads one itimerval.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, none) };
    let engines = [SILENT.as_slice(), &PRIVATE].concat();
    each_of(&engines, |engine| {
        for _ in 0..150 {
            let mut command = Command::new("/bin/true");
            assert!(command.engine(engine).status().unwrap().success());
        }
    });
    assert_eq!(IN_CHILD.load(Ordering::SeqCst), 0);
}

/// SIGSTOP before exec: with shared memory the caller waits until SIGCONT.
#[test]
fn a_child_stopped_before_exec_blocks_its_caller_until_sigcont() {
    let name = "a_child_stopped_before_exec_blocks_its_caller_until_sigcont";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    static CHILD: AtomicUsize = AtomicUsize::new(0);
    let began = Instant::now();
    let continued = thread::spawn(|| {
        loop {
            let pid = CHILD.load(Ordering::SeqCst);
            if pid > 1 {
                thread::sleep(Duration::from_millis(80));
                let pid = i32::try_from(pid).unwrap();
                // SAFETY: our own child, which is stopped.
                return unsafe { libc::kill(pid, libc::SIGCONT) };
            }
            thread::yield_now();
        }
    });
    let mut command = Command::new("/bin/true");
    let hook = |context: &mut offshoot::HookContext<'_>| {
        let own = context.id();
        CHILD.store(own as usize, Ordering::SeqCst);
        // SAFETY: stops this process, whose pid is above 0.
        unsafe { libc::syscall(libc::SYS_kill, own, libc::SIGSTOP) };
        Ok(())
    };
    // SAFETY: the hook stores a number and makes one call.
    unsafe { command.pre_exec_shared(hook) };
    assert!(command.status().unwrap().success());
    assert_eq!(continued.join().unwrap(), 0);
    assert!(began.elapsed() >= Duration::from_millis(80));
}
