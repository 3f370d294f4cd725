//! Forks: what a process that was forked from the spawning one may do with the
//! children of that.
#![allow(unsafe_code, reason = "the tests fork and reap")]

mod util;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use offshoot::{Child, Command, WaitSet};
use rustix::event::{PollFd, PollFlags, poll};
use util::fork::{forked, forked_within};
use util::{alone, each_engine, has_children, in_own_process};

const LONG: Duration = Duration::from_secs(30);

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

/// Moves a child into a fork, and drops it there.
fn drop_in_fork(child: Child) -> Child {
    let mut slot = Some(child);
    let ended = forked_within(LONG, || {
        drop(slot.take());
        0
    });
    assert_eq!(ended, Some(0));
    slot.unwrap()
}

fn end(mut child: Child) {
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert!(child.wait().is_ok());
}

#[test]
fn a_drop_in_a_fork_kills_no_program_of_the_parent() {
    let name = "a_drop_in_a_fork_kills_no_program_of_the_parent";
    if !in_own_process(name, &[]) {
        return;
    }
    each_engine(|engine| {
        let mut sleep = Command::new("sleep");
        let mut sleep = sleep.arg("60").engine(engine).spawn().unwrap();
        sleep.kill_on_drop(true);
        let mut sleep = drop_in_fork(sleep);
        sleep.reap_on_drop(true);
        end(drop_in_fork(sleep));
    });
    // Still killed by its own parent.
    let mut sleep = sleeper();
    let path = format!("/proc/{}", sleep.id());
    sleep.kill_on_drop(true);
    drop(drop_in_fork(sleep));
    while fs::metadata(&path).is_ok() {
        Command::new("true").status().unwrap();
    }
}

#[test]
fn a_fork_kills_its_own_programs_when_it_drops_them() {
    let name = "a_fork_kills_its_own_programs_when_it_drops_them";
    if !in_own_process(name, &[]) {
        return;
    }
    let mut own = sleeper();
    own.kill_on_drop(true);
    let ended = forked_within(LONG, || {
        let mut sleep = sleeper();
        sleep.kill_on_drop(true);
        drop(sleep);
        while has_children() {
            Command::new("true").status().unwrap();
        }
        0
    });
    assert_eq!(ended, Some(0));
    end(own);
}

/// What the parent had dropped is the parent's to reap.
#[test]
fn a_fork_does_not_wait_for_what_its_parent_has_dropped() {
    let name = "a_fork_does_not_wait_for_what_its_parent_has_dropped";
    if !in_own_process(name, &[]) {
        return;
    }
    let mut children = [(); 64].map(|()| sleeper());
    let processes = children.each_mut().map(Child::process);
    for mut child in children {
        child.reap_on_drop(true);
    }
    for process in &processes {
        process.kill().unwrap();
        let pidfd = process.pidfd().unwrap();
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut fds, None).unwrap();
    }
    let began = std::time::Instant::now();
    let ended = forked_within(LONG, || {
        let mut own = Command::new("true").spawn().unwrap();
        own.reap_on_drop(true);
        drop(own);
        while has_children() {
            Command::new("true").status().unwrap();
        }
        0
    });
    assert_eq!(ended, Some(0));
    // A look at each takes 0.1 s, as its status may be known in a moment.
    assert!(began.elapsed() < Duration::from_secs(4), "{began:?}");
    while has_children() {
        Command::new("true").status().unwrap();
    }
}

/// Threads drop children, one after another, while this one forks.
#[test]
fn a_drop_in_a_fork_does_not_wait_for_a_thread_that_is_missing() {
    let name = "a_drop_in_a_fork_does_not_wait_for_a_thread_that_is_missing";
    if !in_own_process(name, &[]) {
        return;
    }
    let over = AtomicBool::new(false);
    let drops = || {
        while !over.load(Ordering::SeqCst) {
            let mut child = Command::new("true").spawn().unwrap();
            let _ = child.reap_on_drop(true);
        }
    };
    thread::scope(|scope| {
        let threads = [(); 3].map(|()| scope.spawn(drops));
        let done = std::panic::catch_unwind(|| {
            for _ in 0..200 {
                let ended = forked_within(LONG, || {
                    let mut sleep = sleeper();
                    sleep.kill_on_drop(true);
                    drop(sleep);
                    0
                });
                assert_eq!(ended, Some(0));
            }
        });
        over.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.join().unwrap();
        }
        done.unwrap();
    });
}

#[test]
fn a_wait_set_in_a_fork_leaves_the_parents_alone() {
    let name = "a_wait_set_in_a_fork_leaves_the_parents_alone";
    if !in_own_process(name, &[]) {
        return;
    }
    let set = WaitSet::new().unwrap();
    let (mut first, mut second) = (sleeper(), sleeper());
    set.insert("first", &first.process());
    let removed = first.process();
    let ended = forked(|| {
        assert_eq!(set.remove(&removed), Some("first"));
        // It takes no event from the parent either.
        let mut own = Command::new("true").spawn().unwrap();
        set.insert("own", &own.process());
        let (name, status) = set.wait().unwrap();
        assert!(name == "own" && status.unwrap().success());
        assert!(set.wait().is_none());
        0
    });
    assert_eq!(ended, 0);
    set.insert("second", &second.process());
    for (name, child) in [("first", &mut first), ("second", &mut second)] {
        child.kill().unwrap();
        let (key, status) = set.wait_timeout(LONG).expect("an event");
        assert_eq!(key, name);
        assert!(!status.unwrap().success());
    }
    assert!(set.is_empty());
}

/// An event of the set's is told once.
#[test]
fn a_wait_in_a_fork_takes_no_end_from_the_parent() {
    let name = "a_wait_in_a_fork_takes_no_end_from_the_parent";
    if !in_own_process(name, &[]) {
        return;
    }
    let set = WaitSet::new().unwrap();
    let mut child = sleeper();
    set.insert((), &child.process());
    child.kill().unwrap();
    let ended = forked(|| {
        let error = set.wait().unwrap().1.unwrap_err();
        assert_eq!(error.step(), offshoot::Step::Wait);
        let text = error.to_string();
        assert!(text.contains("forked from"), "{text}");
        assert!(set.try_wait().is_none());
        0
    });
    assert_eq!(ended, 0);
    let (_, status) = set.wait_timeout(LONG).expect("an event");
    assert!(!status.unwrap().success());
    let _alone = alone();
    assert!(child.wait().is_ok());
}

#[test]
fn a_wait_in_a_fork_says_whose_child_it_is() {
    let name = "a_wait_in_a_fork_says_whose_child_it_is";
    if !in_own_process(name, &[]) {
        return;
    }
    let mut slot = Some(sleeper());
    let ended = forked_within(LONG, || {
        let child = slot.as_mut().unwrap();
        let process = child.process();
        for error in [
            child.try_wait().map(drop).unwrap_err(),
            child.wait_timeout(LONG).map(drop).unwrap_err(),
            process.wait().map(drop).unwrap_err(),
            child.wait().map(drop).unwrap_err(),
        ] {
            assert_eq!(error.step(), offshoot::Step::Wait);
            let text = error.to_string();
            assert!(text.contains("was forked from"), "{text}");
        }
        0
    });
    assert_eq!(ended, Some(0));
    end(slot.unwrap());
}
