//! Waiting for a child, signals to it, and what its drop does; with a pidfd and
//! without.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::metadata;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{ChildEvent, Command, Engine, Stdio, Step};
use util::clean::{assert_error, command, refused};
use util::no_pidfd::with_and_without;
use util::{alone, each_engine, inside};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A shell. What it leaves behind keeps no output of the test open.
fn sh(script: &str) -> Command {
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("exec 2>/dev/null; {script}")]);
    sh
}

#[test]
fn a_wait_ends_with_its_time_or_with_the_child() {
    let name = "a_wait_ends_with_its_time_or_with_the_child";
    with_and_without(name, |spawn| {
        let mut sleep = spawn(sh("exec sleep 1000"));
        let begun = Instant::now();
        assert_eq!(sleep.wait_timeout(SHORT).unwrap(), None);
        assert!(begun.elapsed() >= SHORT);
        assert_eq!(sleep.wait_timeout(Duration::ZERO).unwrap(), None);
        assert_eq!(sleep.wait_deadline(begun).unwrap(), None);
        sleep.kill().unwrap();
        let status = sleep.wait_timeout(Duration::MAX).unwrap().unwrap();
        assert_eq!(status.signal(), Some(9));
        assert_eq!(sleep.wait_timeout(LONG).unwrap(), Some(status));
        assert_eq!(sleep.wait().unwrap(), status);
        assert_eq!(sleep.try_wait().unwrap(), Some(status));
        // The status survives whatever is asked first.
        let mut seven = spawn(sh("exit 7"));
        let (status, _) = seven.wait_usage().unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(seven.wait_timeout(LONG).unwrap(), Some(status));
    });
}

/// Its standard input is closed, as by `wait`.
#[test]
fn a_wait_with_a_timeout_closes_the_input() {
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    assert!(cat.wait_timeout(LONG).unwrap().unwrap().success());
}

/// A timer's signal every 5 ms neither ends nor lengthens the waits.
#[test]
fn waits_survive_periodic_signals() {
    let name = "waits_survive_periodic_signals";
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    with_and_without(name, |spawn| {
        // SAFETY: all zeros is an empty action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as *const () as usize;
        let none = std::ptr::null_mut();
        // SAFETY: the handler adds to a counter.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, none) };
        let every = libc::timeval { tv_sec: 0, tv_usec: 5000 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: reads one itimerval.
        unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
        let before = COUNT.load(Ordering::Relaxed);
        let mut sleep = spawn(sh("exec sleep 1000"));
        let begun = Instant::now();
        let time = Duration::from_millis(100);
        assert_eq!(sleep.wait_timeout(time).unwrap(), None);
        assert!(begun.elapsed() >= time);
        assert!(COUNT.load(Ordering::Relaxed) > before);
        let process = sleep.process();
        thread::scope(|scope| {
            let waits = scope.spawn(|| process.wait().unwrap());
            assert_eq!(sleep.wait_timeout(time).unwrap(), None);
            sleep.kill().unwrap();
            assert_eq!(waits.join().unwrap().signal(), Some(9));
        });
        let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let timer = libc::itimerval { it_interval: never, it_value: never };
        // SAFETY: reads one itimerval.
        unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
    });
}

#[test]
fn the_usage_of_a_child_is_its_own() {
    let _alone = alone();
    let spin = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
    let mut busy = sh(spin).spawn().unwrap();
    let (status, usage) = busy.wait_usage().unwrap();
    assert!(status.success());
    let time = usage.user_time() + usage.system_time();
    assert!(time > Duration::from_millis(1), "{usage:?}");
    assert!(usage.max_rss() > 100_000 && usage.minor_faults() > 0);
    assert_eq!(busy.wait_usage().unwrap().1, usage);
    // Another wait before does not lose it.
    let mut idle = Command::new("true").spawn().unwrap();
    idle.wait().unwrap();
    let (_, little) = idle.wait_usage().unwrap();
    assert!(little.user_time() + little.system_time() < time);
}

/// Other code reaps the child.
#[test]
fn what_is_reaped_elsewhere_has_a_status_or_an_error() {
    let name = "what_is_reaped_elsewhere_has_a_status_or_an_error";
    with_and_without(name, |spawn| {
        let mut seven = spawn(sh("exit 7"));
        let pid = i32::try_from(seven.id()).unwrap();
        // SAFETY: reaps the child, without the library.
        let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, pid);
        let process = seven.process();
        let usage = seven.wait_usage().unwrap_err();
        assert_eq!(usage.step(), Step::Wait);
        for waited in [
            process.wait(),
            seven.wait(),
            seven.wait_timeout(LONG).map(Option::unwrap),
            process.try_wait().map(Option::unwrap),
        ] {
            match waited {
                Ok(status) => assert_eq!(status.code(), Some(7)),
                Err(error) => {
                    assert_eq!(error.step(), Step::Wait);
                    assert!(error.to_string().contains("is lost"), "{error}");
                }
            }
        }
    });
}

#[test]
fn every_handle_on_every_thread_gets_the_status() {
    let name = "every_handle_on_every_thread_gets_the_status";
    with_and_without(name, |spawn| {
        for n in 0..20 {
            let mut child = spawn(sh(if n % 2 == 0 {
                "exit 7"
            } else {
                "sleep 0.02; exit 7"
            }));
            let process = child.process();
            thread::scope(|scope| {
                let waits: Vec<_> = (0..6)
                    .map(|n| {
                        let process = process.clone();
                        scope.spawn(move || match n % 3 {
                            0 => process.wait().unwrap(),
                            1 => process.wait_timeout(LONG).unwrap().unwrap(),
                            _ => loop {
                                if let Some(status) =
                                    process.try_wait().unwrap()
                                {
                                    return status;
                                }
                                process.signal(libc::SIGCONT).unwrap();
                                thread::yield_now();
                            },
                        })
                    })
                    .collect();
                assert_eq!(child.wait().unwrap().code(), Some(7));
                for waits in waits {
                    assert_eq!(waits.join().unwrap().code(), Some(7));
                }
            });
            // Ended long ago: no other process is signalled.
            process.kill().unwrap();
            assert_eq!(process.wait().unwrap().code(), Some(7));
        }
    });
}

#[test]
fn a_signal_is_sent_by_its_number() {
    let name = "a_signal_is_sent_by_its_number";
    with_and_without(name, |spawn| {
        let mut child = spawn(sh("exec sleep 1000"));
        for number in [0, -1, 65, i32::MIN] {
            let error = child.signal(number).unwrap_err();
            let shown = number.to_string();
            refused(&error, Step::Kill, Some(&shown), "from 1 to 64");
        }
        child.signal(libc::SIGUSR1).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGUSR1));
        child.signal(libc::SIGUSR1).unwrap();
    });
}

#[test]
fn a_group_is_signalled_and_no_other() {
    let name = "a_group_is_signalled_and_no_other";
    with_and_without(name, |spawn| {
        // The end of the pipe is in both processes.
        let script = "sleep 1000 & exec sleep 1000";
        let (mut read, write) = std::io::pipe().unwrap();
        let mut group = sh(script);
        group.stdout(std::os::fd::OwnedFd::from(write)).process_group(0);
        let mut group = spawn(group);
        group.signal_group(libc::SIGTERM).unwrap();
        assert_eq!(group.wait().unwrap().signal(), Some(libc::SIGTERM));
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut read, &mut rest).unwrap();
        let mut own = spawn(sh("exec sleep 1000"));
        let error = own.signal_group(libc::SIGKILL).unwrap_err();
        refused(&error, Step::Kill, None, "leads no process group");
        own.kill().unwrap();
        own.wait().unwrap();
    });
}

/// The leader has ended and its group goes on.
#[test]
fn a_group_whose_leader_was_reaped_is_signalled_by_the_pidfd_only() {
    let name =
        "a_group_whose_leader_was_reaped_is_signalled_by_the_pidfd_only";
    with_and_without(name, |spawn| {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut group = sh("sleep 1000 & exit 3");
        group.stdout(std::os::fd::OwnedFd::from(write)).process_group(0);
        let mut group = spawn(group);
        assert_eq!(group.wait().unwrap().code(), Some(3));
        let has_pidfd = group.pidfd().is_some();
        match group.signal_group(libc::SIGKILL) {
            Ok(()) => {
                assert!(has_pidfd);
                let mut rest = String::new();
                std::io::Read::read_to_string(&mut read, &mut rest).unwrap();
            }
            Err(error) => {
                assert_error(&error, Step::Kill, None, libc::ESRCH);
                assert!(
                    error.to_string().contains("another group"),
                    "{error}"
                );
                let pid = i32::try_from(group.id()).unwrap();
                assert!(pid > 1);
                // SAFETY: the group of the test's own child, above 1.
                let killed = unsafe { libc::kill(-pid, libc::SIGKILL) };
                assert_eq!(killed, 0);
            }
        }
    });
}

#[test]
fn a_program_is_terminated_or_killed_after_its_grace() {
    let name = "a_program_is_terminated_or_killed_after_its_grace";
    with_and_without(name, |spawn| {
        let mut willing = spawn(sh("exec sleep 1000"));
        let status = willing.terminate(LONG).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
        // It is told to go on, as it could not end while stopped.
        let mut stopped = spawn(sh("kill -STOP $$; exit 1"));
        let process = stopped.process();
        let event = stopped.events().next().unwrap().unwrap();
        assert_eq!(event, ChildEvent::Stopped(libc::SIGSTOP));
        drop(process);
        let status = stopped.terminate(LONG).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGTERM));
        let (mut ready, write) = std::io::pipe().unwrap();
        let mut deaf =
            sh("trap '' TERM; echo; exec >&-; while :; do sleep 1; done");
        deaf.stdout(std::os::fd::OwnedFd::from(write));
        let mut deaf = spawn(deaf);
        std::io::Read::read_exact(&mut ready, &mut [0]).unwrap();
        let status = deaf.terminate(SHORT).unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert_eq!(deaf.terminate(SHORT).unwrap(), status);
    });
}

#[test]
fn stops_and_continuations_are_events_and_no_end() {
    let name = "stops_and_continuations_are_events_and_no_end";
    with_and_without(name, |spawn| {
        // SIGTSTP does not stop a process of an orphaned group, as that of the
        // test may be.
        let mut sleep = sh("exec sleep 1000");
        sleep.process_group(0);
        let mut child = spawn(sleep);
        let process = child.process();
        let mut events = child.events();
        for signal in [libc::SIGSTOP, libc::SIGTSTP] {
            process.signal(signal).unwrap();
            let stopped = events.next().unwrap().unwrap();
            assert_eq!(stopped, ChildEvent::Stopped(signal));
            assert!(process.try_wait().unwrap().is_none());
            assert!(process.wait_timeout(SHORT).unwrap().is_none());
            process.signal(libc::SIGCONT).unwrap();
            let goes_on = events.next().unwrap().unwrap();
            assert_eq!(goes_on, ChildEvent::Continued);
        }
        process.kill().unwrap();
        let Ok(ChildEvent::Ended(status)) = events.next().unwrap() else {
            panic!("no end");
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(events.next().is_none());
        assert_eq!(child.wait().unwrap(), status);
        let again = child.events().next().unwrap().unwrap();
        assert_eq!(again, ChildEvent::Ended(status));
    });
}

/// The zombies of this process.
fn exists(pid: u32) -> bool {
    metadata(format!("/proc/{pid}")).is_ok()
}

#[test]
fn a_drop_kills_or_reaps_if_asked_and_never_waits() {
    let name = "a_drop_kills_or_reaps_if_asked_and_never_waits";
    with_and_without(name, |spawn| {
        let mut killed = spawn(sh("exec sleep 1000"));
        killed.kill_on_drop(true);
        let killed = {
            let id = killed.id();
            drop(killed);
            id
        };
        let begun = Instant::now();
        let mut reaped = spawn(Command::new("true"));
        let process = reaped.process();
        reaped.reap_on_drop(true);
        let id = reaped.id();
        drop(reaped);
        while exists(id) || exists(killed) {
            assert!(begun.elapsed() < LONG);
            spawn(Command::new("true")).wait().unwrap();
        }
        assert!(process.wait().unwrap().success());
    });
}

/// Neither the one nor the other without being asked.
#[test]
fn a_drop_neither_kills_nor_reaps_by_default() {
    let name = "a_drop_neither_kills_nor_reaps_by_default";
    with_and_without(name, |spawn| {
        let child = spawn(sh("exec sleep 1000"));
        let id = i32::try_from(child.id()).unwrap();
        drop(child);
        assert!(id > 1);
        // SAFETY: the test's own child, which nothing has reaped.
        assert_eq!(unsafe { libc::kill(id, libc::SIGKILL) }, 0);
        // SAFETY: as before, and no status is written.
        let reaped = unsafe { libc::waitpid(id, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, id);
    });
}

/// With SIGCHLD ignored the kernel reaps.
#[test]
fn a_child_that_the_kernel_reaps_has_a_status_or_an_error() {
    let name = "a_child_that_the_kernel_reaps_has_a_status_or_an_error";
    if !inside(name, &[]) {
        return;
    }
    // SAFETY: the process is the test's own.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    each_engine(|engine: Engine| {
        let mut child = command("/bin/sh", engine);
        let mut child =
            child.args(["-c", "sleep 0.02; exit 7"]).spawn().unwrap();
        let process = child.process();
        for waited in [
            process.wait(),
            child.wait(),
            child.wait_timeout(LONG).map(Option::unwrap),
        ] {
            match waited {
                Ok(status) => assert_eq!(status.code(), Some(7)),
                Err(error) => assert_eq!(error.step(), Step::Wait),
            }
        }
    });
}
