//! Tracing: a child that asks to be traced stops after its exec, and neither
//! the spawn nor a wait takes a stop for the end.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, ptr, thread};

use offshoot::{Child, Engine, Stdio, Step};
use util::clean::{assert_error, clean, command, refused};
use util::filter::{self, Action};
use util::fork::{end_with, fork, reap};
use util::{PRIVATE, each_engine, each_of};

/// Waits for a stop of a child and returns its signal.
#[track_caller]
fn stop(child: &Child) -> i32 {
    let mut status = 0;
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: writes one int.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid, "{}", io::Error::last_os_error());
    assert!(libc::WIFSTOPPED(status), "{status:#x}");
    libc::WSTOPSIG(status)
}

#[track_caller]
fn go_on(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).unwrap();
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: the request accesses no memory of this process.
    let done = unsafe {
        libc::ptrace(libc::PTRACE_CONT, pid, none, libc::c_long::from(signal))
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

#[test]
fn a_traced_program_stops_after_its_exec_and_ends_once_continued() {
    each_of(&PRIVATE, |engine| {
        let mut sh = command("/bin/sh", engine);
        sh.args(["-c", "kill -USR1 $$; exit 7"]).ptrace_traceme(true);
        for prepared in [false, true] {
            let mut child = match prepared {
                false => sh.spawn().unwrap(),
                true => sh.prepare().unwrap().spawn().unwrap(),
            };
            assert_eq!(child.launch().engine(), engine);
            let confirmed = engine != Engine::Pipe;
            assert_eq!(child.launch().confirmed(), confirmed);
            // It has not run yet, and a wait neither ends nor consumes it.
            assert!(child.try_wait().unwrap().is_none());
            assert_eq!(stop(&child), libc::SIGTRAP);
            let exe = fs::read_link(format!("/proc/{}/exe", child.id()));
            assert!(exe.unwrap().to_str().unwrap().contains("sh"));
            go_on(&child, 0);
            assert_eq!(stop(&child), libc::SIGUSR1);
            assert!(child.try_wait().unwrap().is_none());
            // The signal is not delivered.
            go_on(&child, 0);
            assert_eq!(child.wait().unwrap().code(), Some(7));
        }
    });
}

/// The stop may come before or after the wait.
#[test]
fn a_wait_does_not_take_the_stop_of_a_traced_child_for_its_end() {
    each_of(&PRIVATE, |engine| {
        let mut child = command("/bin/true", engine);
        let mut child = child.ptrace_traceme(true).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let waits = AtomicBool::new(false);
        // Only this thread can continue it, so another one waits.
        let status = thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                waits.store(true, Ordering::SeqCst);
                child.wait().unwrap()
            });
            while !waits.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let mut status = 0;
            // SAFETY: writes one int.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!((waited, libc::WSTOPSIG(status)), (pid, libc::SIGTRAP));
            let none = ptr::null_mut::<libc::c_void>();
            // SAFETY: the request accesses no memory of this process.
            unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, none) };
            waiter.join().unwrap()
        });
        assert!(status.success());
    });
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_when_traced_too() {
    each_of(&PRIVATE, |engine| {
        let mut child = command("/nope", engine);
        child.ptrace_traceme(true);
        let error = clean(|| child.spawn().map(drop));
        assert_error(&error, Step::Exec, Some("/nope"), libc::ENOENT);
    });
}

#[test]
fn a_child_that_cannot_be_traced_says_why() {
    let nr = libc::SYS_ptrace;
    each_of(&PRIVATE, |engine| {
        filter::with(nr, Action::errno(libc::EPERM), || {
            let mut child = command("/bin/true", engine);
            let error = child.ptrace_traceme(true).spawn().unwrap_err();
            assert_error(&error, Step::PtraceTraceme, None, libc::EPERM);
            let text = error.to_string();
            assert!(text.contains("another process traces"), "{text}");
        });
        // Without effect: the program would run untraced.
        filter::with(nr, Action::Errno(0), || {
            let mut child = command("/bin/true", engine);
            let error = child.ptrace_traceme(true).spawn().unwrap_err();
            assert_eq!(error.step(), Step::PtraceTraceme, "{error}");
            assert_eq!(error.raw_os_error(), None, "{error}");
        });
        filter::with(nr, Action::Kill, || {
            let mut child = command("/bin/true", engine);
            let error = child.ptrace_traceme(true).spawn().unwrap_err();
            assert_eq!(error.step(), Step::PtraceTraceme, "{error}");
        });
    });
}

/// In shared memory a stop before exec would suspend the thread that has to
/// end it; a fork of a hook would be traced by a process that does not know.
#[test]
fn a_traced_child_with_shared_memory_or_a_hook_is_refused() {
    let _alone = util::alone();
    let mut shared = command("/bin/true", Engine::Suspended);
    let error = clean(|| shared.ptrace_traceme(true).spawn().map(drop));
    let why = "suspend the tracer";
    refused(&error, Step::Memory, Some("ptrace_traceme"), why);
    let mut hooked = offshoot::Command::new("/bin/true");
    // SAFETY: the hook does nothing.
    unsafe { hooked.pre_exec(|_| Ok(())) };
    let error = clean(|| hooked.ptrace_traceme(true).spawn().map(drop));
    refused(&error, Step::PtraceTraceme, Some("pre_exec"), "may fork");
    let mut waited = offshoot::Command::new("/bin/true");
    waited.die_with_parent().ptrace_traceme(true);
    let error = clean(|| waited.spawn().map(drop));
    let option = Some("die_with_parent");
    refused(&error, Step::PtraceTraceme, option, "thread that waits");
}

/// The thread that waits for the end sees the stops of a child that this
/// process traces.
#[test]
fn a_child_that_dies_with_the_parent_survives_being_traced_by_it() {
    each_engine(|engine| {
        let mut cat = command("cat", engine);
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).die_with_parent();
        let mut child = cat.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let none = ptr::null_mut::<libc::c_void>();
        let request = |request| {
            // SAFETY: the requests access no memory of this process.
            let done = unsafe { libc::ptrace(request, pid, none, none) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
        };
        request(libc::PTRACE_SEIZE);
        request(libc::PTRACE_INTERRUPT);
        assert_eq!(stop(&child), libc::SIGTRAP);
        go_on(&child, 0);
        request(libc::PTRACE_INTERRUPT);
        // The stop stays to be taken meanwhile.
        thread::sleep(Duration::from_millis(100));
        assert_eq!(stop(&child), libc::SIGTRAP);
        request(libc::PTRACE_DETACH);
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"lives").unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"lives", "{engine}: {}", output.status);
        assert!(output.status.success());
    });
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    let seconds = Duration::from_secs(time.tv_sec.try_into().unwrap());
    seconds + Duration::from_nanos(time.tv_nsec.try_into().unwrap())
}

/// As long as the tracer leaves a stop, every wait returns at once.
#[test]
fn a_wait_by_pidfd_pauses_while_a_traced_child_is_stopped() {
    let mut cat = command("cat", Engine::Copied);
    let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let none = ptr::null_mut::<libc::c_void>();
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: the requests access no memory of this process.
        let done = unsafe { libc::ptrace(request, pid, none, none) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
    let pidfd = offshoot::PidFd::open(child.id()).unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let before = cpu_time();
            let status = pidfd.wait();
            (status.unwrap(), cpu_time() - before)
        });
        // It is not taken for the end, and is still there.
        thread::sleep(Duration::from_millis(300));
        assert_eq!(pidfd.try_wait().unwrap(), None);
        child.kill().unwrap();
        let (status, used) = waits.join().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
        assert!(used < Duration::from_millis(100), "{used:?}");
    });
    drop(child.stdin.take());
}

/// Its pidfd is readable, and no wait of its parent sees the end before the
/// tracer, another process, has.
#[test]
fn a_wait_pauses_while_another_process_traces_a_child_that_has_ended() {
    let name =
        "a_wait_pauses_while_another_process_traces_a_child_that_has_ended";
    let _alone = util::alone();
    let mut cat = command("cat", Engine::Copied);
    let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let (mut ready, write) = io::pipe().unwrap();
    let tracer = fork();
    if tracer == 0 {
        end_with(|| {
            let none = ptr::null_mut::<libc::c_void>();
            let request = libc::PTRACE_SEIZE;
            // SAFETY: the request accesses no memory of this process.
            let done = unsafe { libc::ptrace(request, pid, none, none) };
            (&write).write_all(&[u8::from(done == 0)]).unwrap();
            thread::sleep(Duration::from_secs(60));
            0
        });
    }
    let mut traces = [0];
    ready.read_exact(&mut traces).unwrap();
    child.kill().unwrap();
    let before = cpu_time();
    let waited = child.wait_timeout(Duration::from_millis(300)).unwrap();
    let used = cpu_time() - before;
    assert!(tracer > 1);
    // SAFETY: a child that has not been waited for.
    unsafe { libc::kill(tracer, libc::SIGKILL) };
    reap(tracer);
    assert!(child.wait_timeout(Duration::from_secs(60)).unwrap().is_some());
    if traces == [0] {
        return util::skip(name, "this process may not trace a sibling");
    }
    assert_eq!(waited, None);
    assert!(used < Duration::from_millis(100), "{used:?}");
}

/// Signals between the request and exec: each stops the child, and only the
/// spawning thread can continue it.
#[test]
fn signals_before_the_exec_of_a_traced_child_do_not_block_the_spawn() {
    let name =
        "signals_before_the_exec_of_a_traced_child_do_not_block_the_spawn";
    let pids = util::own_pids();
    if pids.is_empty() {
        return util::skip(name, "this user may not create PID namespaces");
    }
    if !util::inside(name, &pids) {
        return;
    }
    // SIGWINCH is ignored by default, but stops a traced process.
    each_of(&PRIVATE, |engine| {
        let done = AtomicBool::new(false);
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                // A panic below does not set the flag.
                let limit = Duration::from_secs(60);
                while !done.load(Ordering::SeqCst) && begun.elapsed() < limit {
                    signal_children();
                }
            });
            for _ in 0..50 {
                let mut child = command("/bin/true", engine);
                let mut child = child.ptrace_traceme(true).spawn().unwrap();
                assert!(begun.elapsed() < Duration::from_secs(60));
                // Stops by SIGWINCH may come before the one of exec.
                while stop(&child) != libc::SIGTRAP {
                    go_on(&child, 0);
                }
                child.kill().unwrap();
                child.wait().unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
    });
}

/// Sends SIGWINCH to each child of this process.
fn signal_children() {
    let own = std::process::id();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<i32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        let stat = stat.unwrap_or_default();
        let parent = stat.rsplit(") ").next();
        let parent = parent.and_then(|rest| rest.split(' ').nth(1));
        if pid > 1 && parent == Some(&own.to_string()) {
            // SAFETY: a process id above 1, in a namespace of the test's own.
            unsafe { libc::kill(pid, libc::SIGWINCH) };
        }
    }
}

/// Whether the calling thread sees a stop of the child, which stays.
fn sees_stop(pid: i32) -> bool {
    // SAFETY: all zeros is a siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let how = libc::WEXITED | libc::__WALL | libc::WNOHANG | libc::WNOWAIT;
    let id = pid.unsigned_abs();
    // SAFETY: writes one siginfo.
    let done = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, how) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    info.si_code == libc::CLD_TRAPPED
}

/// Attaches to a running child, which stops, while another thread waits for it
/// in this way. Returns whether the tracer sees the first stop, and the second.
fn stops_seen(
    wait: impl Fn(&mut Child) + Sync,
    shares: bool,
    takes: bool,
) -> [bool; 2] {
    let mut child = command("sleep", Engine::Suspended);
    let mut child = child.arg("60").spawn().unwrap();
    let process = shares.then(|| child.process());
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = offshoot::PidFd::open(child.id()).unwrap();
    let none = ptr::null_mut::<libc::c_void>();
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: the requests access no memory of this process.
        let done = unsafe { libc::ptrace(request, pid, none, none) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
    while !sees_stop(pid) {
        thread::yield_now();
    }
    thread::scope(|scope| {
        let (wait, child) = (&wait, &mut child);
        let waits = scope.spawn(move || wait(child));
        // One that is taken is taken soon.
        let taken = |_| {
            thread::sleep(Duration::from_millis(5));
            !sees_stop(pid)
        };
        let looks = if takes { 10_000 } else { 100 };
        let first = !(0..looks).any(taken);
        let go_on = |request| {
            // SAFETY: the requests access no memory of this process.
            let done = unsafe { libc::ptrace(request, pid, none, none) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
        };
        go_on(libc::PTRACE_CONT);
        go_on(libc::PTRACE_INTERRUPT);
        let until = Instant::now() + Duration::from_secs(10);
        while !sees_stop(pid) && Instant::now() < until {
            thread::yield_now();
        }
        let second = !(0..20).any(taken);
        pidfd.signal(libc::SIGKILL).unwrap();
        waits.join().unwrap();
        drop(process);
        [first, second]
    })
}

/// A look whether the stop is one would be a call more for each wait.
#[test]
fn only_a_wait_that_blocks_takes_a_stop_and_only_the_first() {
    let _alone = util::alone();
    let name = "only_a_wait_that_blocks_takes_a_stop_and_only_the_first";
    // What a wait has seen counts for the whole process.
    if !util::inside(name, &["env"]) {
        return;
    }
    let blocks = |child: &mut Child| {
        child.wait().unwrap();
    };
    let within = |child: &mut Child| {
        child.wait_timeout(Duration::from_secs(60)).unwrap().unwrap();
    };
    assert_eq!(stops_seen(blocks, true, false), [true; 2]);
    assert_eq!(stops_seen(within, false, false), [true; 2]);
    assert_eq!(stops_seen(blocks, false, true), [false, true]);
    // From here on the process is known to trace.
    assert_eq!(stops_seen(blocks, false, false), [true; 2]);
}
