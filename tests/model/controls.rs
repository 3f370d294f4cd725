//! Controls: code with the faults that the model is to find.

use loom::thread;

use crate::explore::on;
use crate::kernel::{LINUX_5_1, kernel};
use crate::sys::Pid;
use crate::sys::kill::kill;
use crate::sys::wait::{Kind, Target, wait, wait_for_end};

fn start() -> Target {
    let (pid, _) = kernel().start_child(false);
    Target::new(pid, None)
}

#[test]
#[should_panic(expected = "signal 9 to 1000, which is another process's")]
fn a_signal_by_number_after_the_reap_is_found() {
    on(LINUX_5_1, "kill without a lock", 2, || {
        let child = start();
        let kills = thread::spawn(move || kill(child.pid, libc::SIGKILL));
        kernel().exit(child.pid.get(), 7);
        wait(child, Kind::Any, true).unwrap();
        let _ = kills.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "a wait by 1000, which is another process's")]
fn two_threads_that_reap_are_found() {
    on(LINUX_5_1, "two reaps", 2, || {
        let child = start();
        let reaps = thread::spawn(move || wait(child, Kind::Any, true));
        kernel().exit(child.pid.get(), 7);
        let _ = wait(child, Kind::Any, true);
        let _ = reaps.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_thread_that_waits_forever_is_found() {
    on(LINUX_5_1, "no end", 2, || {
        let child = start();
        let _ = wait_for_end(child, Kind::Any);
    });
}

#[test]
#[should_panic(expected = "a zombie is left")]
fn a_child_that_nobody_reaps_is_found() {
    on(LINUX_5_1, "no reap", 2, || {
        let child = start();
        kernel().exit(child.pid.get(), 7);
        assert!(Pid::new(0).is_none());
    });
}
