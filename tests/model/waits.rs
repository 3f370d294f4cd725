//! Waits: by several threads, beside signals.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use loom::thread;

use crate::explore::{explore, on};
use crate::kernel::{LINUX, kernel};
use crate::parent::error::Step;
use crate::parent::handle::{Child, Process};

/// The status of an exit with 7, as wait(2) has it.
const SEVEN: i32 = 7 << 8;

fn raw(process: &Process) -> i32 {
    process.wait().unwrap().into_raw()
}

#[test]
fn each_thread_that_waits_gets_the_status() {
    explore("three waits", 3, || {
        let mut child = Child::start();
        let waits = [child.process(), child.process()]
            .map(|process| thread::spawn(move || raw(&process)));
        kernel().exit(child.id(), 7);
        assert_eq!(child.wait().unwrap().into_raw(), SEVEN);
        for wait in waits {
            assert_eq!(wait.join().unwrap(), SEVEN);
        }
        assert_eq!(child.try_wait().unwrap().unwrap().into_raw(), SEVEN);
    });
}

#[test]
fn a_thread_with_a_limit_gets_the_status_or_none() {
    explore("wait, limit", 2, || {
        let mut child = Child::start();
        let process = child.process();
        let limit = Duration::from_millis(2);
        let timed = thread::spawn(move || process.wait_timeout(limit));
        let process = child.process();
        let waits = thread::spawn(move || raw(&process));
        let process = child.process();
        let looks = thread::spawn(move || process.try_wait());
        kernel().exit(child.id(), 7);
        assert_eq!(waits.join().unwrap(), SEVEN);
        for some in [timed.join().unwrap(), looks.join().unwrap()] {
            let status = some.unwrap().map(ExitStatusExt::into_raw);
            assert!(status.is_none() || status == Some(SEVEN), "{status:?}");
        }
    });
}

#[test]
fn a_signal_reaches_the_child_or_nothing() {
    explore("wait, kill", 3, || {
        let mut child = Child::start();
        let process = child.process();
        let kills = thread::spawn(move || process.kill().unwrap());
        let process = child.process();
        let waits = thread::spawn(move || raw(&process));
        kernel().exit(child.id(), 7);
        let status = child.wait().unwrap().into_raw();
        assert!(status == SEVEN || status == libc::SIGKILL, "{status}");
        assert_eq!(waits.join().unwrap(), status);
        kills.join().unwrap();
    });
}

#[test]
fn a_signal_to_the_group_reaches_the_childs_or_nothing() {
    explore("wait, kill the group", 3, || {
        let mut child = Child::start();
        let process = child.process();
        let kills = thread::spawn(move || {
            if let Err(error) = process.signal_group(libc::SIGKILL) {
                assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
            }
        });
        let process = child.process();
        let waits = thread::spawn(move || raw(&process));
        kernel().exit(child.id(), 7);
        let status = child.wait().unwrap().into_raw();
        assert!(status == SEVEN || status == libc::SIGKILL, "{status}");
        assert_eq!(waits.join().unwrap(), status);
        kills.join().unwrap();
    });
}

#[test]
fn a_child_that_another_thread_waits_for_is_terminated() {
    explore("wait, terminate", 3, || {
        let mut child = Child::start();
        let process = child.process();
        let waits = thread::spawn(move || raw(&process));
        let process = child.process();
        let kills = thread::spawn(move || process.kill().unwrap());
        let status = child.terminate(Duration::from_millis(1)).unwrap();
        assert_eq!(waits.join().unwrap(), status.into_raw());
        kills.join().unwrap();
    });
}

/// Without a wait by pidfd, other code may reap between a look and the wait by
/// number, which no program can prevent.
#[test]
fn threads_wait_although_other_code_reaps() {
    for version in LINUX {
        on(version, "wait, other code", 3, move || {
            let reused = version.waits;
            let mut child = Child::start();
            let id = child.id();
            let process = child.process();
            let waits = thread::spawn(move || process.wait());
            let steals = thread::spawn(move || kernel().steal(id, reused));
            kernel().exit(child.id(), 7);
            for status in [child.wait(), waits.join().unwrap()] {
                match status {
                    Ok(status) => assert_eq!(status.into_raw(), SEVEN),
                    Err(error) => assert_eq!(error.step(), Step::Wait),
                }
            }
            steals.join().unwrap();
            child.kill().unwrap();
        });
    }
}
