//! Sets: a `WaitSet` that several threads use.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;

use loom::thread;

use crate::explore::explore;
use crate::kernel::kernel;
use crate::parent::handle::{Child, WaitSet};

#[test]
fn each_end_is_returned_to_one_thread() {
    explore("two threads, two children", 3, || {
        let set = Arc::new(WaitSet::new().unwrap());
        let mut children = [Child::start(), Child::start()];
        for (n, child) in children.iter_mut().enumerate() {
            set.insert(n, &child.process());
        }
        let shared = Arc::clone(&set);
        let waits = thread::spawn(move || shared.wait());
        for child in &children {
            kernel().exit(child.id(), 7);
        }
        let own = set.wait();
        let mut keys: Vec<usize> = [own, waits.join().unwrap()]
            .into_iter()
            .map(|ended| {
                let (key, status) = ended.unwrap();
                assert_eq!(status.unwrap().code(), Some(7));
                key
            })
            .collect();
        keys.sort_unstable();
        assert_eq!(keys, [0, 1]);
        assert!(set.wait().is_none());
    });
}

#[test]
fn threads_that_wait_for_more_than_there_are_return() {
    explore("two threads, one child", 1, || {
        let set = Arc::new(WaitSet::new().unwrap());
        let mut child = Child::start();
        set.insert((), &child.process());
        let shared = Arc::clone(&set);
        let waits = thread::spawn(move || shared.wait().is_some());
        let process = child.process();
        let kills = thread::spawn(move || process.kill().unwrap());
        let own = set.wait().is_some();
        assert!(own ^ waits.join().unwrap());
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        kills.join().unwrap();
    });
}

#[test]
fn a_child_is_removed_or_returned_while_a_thread_waits() {
    explore("wait, remove", 3, || {
        let set = Arc::new(WaitSet::new().unwrap());
        let mut child = Child::start();
        let process = child.process();
        set.insert((), &process);
        let shared = Arc::clone(&set);
        let waits = thread::spawn(move || shared.wait().is_some());
        let id = child.id();
        let exits = thread::spawn(move || kernel().exit(id, 7));
        let removed = set.remove(&process).is_some();
        assert!(removed ^ waits.join().unwrap());
        assert!(set.is_empty());
        exits.join().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn a_child_is_inserted_while_a_thread_waits() {
    explore("wait, insert", 3, || {
        let set = Arc::new(WaitSet::new().unwrap());
        let mut first = Child::start();
        set.insert(1, &first.process());
        let shared = Arc::clone(&set);
        let waits = thread::spawn(move || shared.wait().unwrap().0);
        let mut second = Child::start();
        set.insert(2, &second.process());
        kernel().exit(second.id(), 7);
        assert_eq!(waits.join().unwrap(), 2);
        kernel().exit(first.id(), 8);
        assert_eq!(set.wait().unwrap().0, 1);
        assert_eq!(second.wait().unwrap().code(), Some(7));
    });
}

/// The thread waits without a limit, as the first child has a pidfd.
#[test]
fn a_child_without_a_pidfd_is_inserted_while_a_thread_waits() {
    explore("wait, insert without a pidfd", 3, || {
        let set = Arc::new(WaitSet::new().unwrap());
        let mut first = Child::start();
        set.insert(1, &first.process());
        let shared = Arc::clone(&set);
        let waits = thread::spawn(move || shared.wait().unwrap().0);
        let mut second = Child::start_without_pidfd();
        set.insert(2, &second.process());
        kernel().exit(second.id(), 7);
        assert_eq!(waits.join().unwrap(), 2);
        kernel().exit(first.id(), 8);
        assert_eq!(set.wait().unwrap().0, 1);
        assert_eq!(second.wait().unwrap().code(), Some(7));
    });
}
