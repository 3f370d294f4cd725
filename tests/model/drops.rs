//! Drops: of a `Child` that other threads wait for.

use std::os::unix::process::ExitStatusExt;
use std::sync::{Mutex, PoisonError};

use loom::thread;

use crate::explore::explore;
use crate::kernel::kernel;
use crate::parent::handle::{Child, reap_dropped};

/// The children that were dropped are one list in the process, so one test
/// runs at a time.
fn explore_drops(name: &'static str, most: usize, test: fn()) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    explore(name, most, move || {
        // loom wants the flag to be made before there are threads.
        reap_dropped();
        test();
    });
}

#[test]
fn a_child_that_is_killed_by_its_drop_gives_its_status_to_others() {
    explore_drops("wait, drop that kills", 3, || {
        let mut child = Child::start();
        let waits = [child.process(), child.process()]
            .map(|process| thread::spawn(move || process.wait()));
        child.kill_on_drop(true);
        drop(child);
        for wait in waits {
            let status = wait.join().unwrap().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        }
        reap_dropped();
    });
}

#[test]
fn a_child_that_is_reaped_after_its_drop_gives_its_status_to_others() {
    explore_drops("wait, drop that reaps", 3, || {
        let mut child = Child::start();
        let process = child.process();
        let wait = thread::spawn(move || process.wait());
        let reaps = thread::spawn(reap_dropped);
        let id = child.id();
        let exits = thread::spawn(move || kernel().exit(id, 7));
        child.reap_on_drop(true);
        drop(child);
        assert_eq!(wait.join().unwrap().unwrap().code(), Some(7));
        reaps.join().unwrap();
        exits.join().unwrap();
        reap_dropped();
    });
}

#[test]
fn no_child_that_was_dropped_is_forgotten() {
    explore_drops("two drops", 3, || {
        let drops = [1, 2].map(|_| {
            let mut child = Child::start();
            child.reap_on_drop(true);
            (child.id(), thread::spawn(move || drop(child)))
        });
        let ids = drops.map(|(id, dropped)| {
            kernel().exit(id, 0);
            dropped.join().unwrap();
            id
        });
        reap_dropped();
        assert!(ids.into_iter().all(|id| kernel().was_reaped(id)));
    });
}
