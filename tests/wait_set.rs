//! Waiting for many children at once: `WaitSet` and `wait_any`.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Child, Command, Step, WaitSet, wait_any};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use util::alone;
use util::clean::refused;
use util::filter::{self, Action};
use util::no_pidfd::{with_and_without, without_pidfd};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// A command that ends with this code when its pipe is closed.
fn until_closed(code: i32) -> (Command, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("read line; exit {code}")]).stdin(read);
    (sh, write)
}

/// Waits until a child is a zombie, and leaves it one.
fn wait_for_zombie(child: &Child) {
    let path = format!("/proc/{}/stat", child.id());
    let begun = Instant::now();
    while !std::fs::read_to_string(&path).unwrap().contains(") Z ") {
        assert!(begun.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
}

fn is_readable(set: &WaitSet<i32>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(set.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn children_are_returned_in_the_order_in_which_they_ended() {
    let _alone = alone();
    let set = WaitSet::new().unwrap();
    assert!(set.wait().is_none() && set.is_empty());
    let mut children = Vec::new();
    for n in 0..6 {
        let (mut command, end) = until_closed(n);
        let mut child = command.spawn().unwrap();
        assert_eq!(set.insert(n, &child.process()), None);
        children.push((n, child, end));
    }
    assert!(set.try_wait().is_none() && !is_readable(&set));
    let order = [3, 0, 5, 1, 4, 2];
    children.sort_by_key(|child| order.iter().position(|n| *n == child.0));
    for (_, child, end) in children {
        drop(end);
        wait_for_zombie(&child);
    }
    assert!(is_readable(&set));
    assert_eq!(set.len(), 6);
    for n in order {
        let (key, status) = set.wait().unwrap();
        assert_eq!((key, status.unwrap().code()), (n, Some(n)));
    }
    assert!(!is_readable(&set));
    assert!(set.wait().is_none() && set.try_wait().is_none());
}

/// Four threads share the ends; the set grows meanwhile.
#[test]
fn a_thousand_children_are_returned_once_each() {
    let _alone = alone();
    let set = WaitSet::new().unwrap();
    let ended = Mutex::new(Vec::new());
    thread::scope(|scope| {
        // Keeps the set from being empty.
        let (mut last, end) = until_closed(3);
        let mut last = last.spawn().unwrap();
        set.insert(1000, &last.process());
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((key, status)) = set.wait() {
                    let code = status.unwrap().code().unwrap();
                    ended.lock().unwrap().push((key, code));
                }
            });
        }
        for n in 0..1000 {
            let mut child = Command::new("/bin/true").spawn().unwrap();
            assert_eq!(set.insert(n, &child.process()), None);
        }
        let begun = Instant::now();
        while ended.lock().unwrap().len() < 1000 {
            assert!(begun.elapsed() < LONG);
            thread::sleep(Duration::from_millis(1));
        }
        drop(end);
    });
    let ended = ended.into_inner().unwrap();
    assert_eq!(ended.len(), 1001);
    let keys: BTreeSet<i32> = ended.iter().map(|end| end.0).collect();
    assert_eq!(keys.len(), 1001);
    for (key, code) in ended {
        assert_eq!(code, if key == 1000 { 3 } else { 0 });
    }
}

#[test]
fn a_child_inserted_while_a_thread_waits_is_returned_by_it() {
    let name = "a_child_inserted_while_a_thread_waits_is_returned_by_it";
    with_and_without(name, |spawn| {
        let set = WaitSet::new().unwrap();
        let (command, end) = until_closed(7);
        let mut first = spawn(command);
        set.insert(1, &first.process());
        thread::scope(|scope| {
            let waits = scope.spawn(|| set.wait().unwrap());
            thread::sleep(SHORT);
            let (command, second_end) = until_closed(8);
            let mut second = spawn(command);
            set.insert(2, &second.process());
            drop(second_end);
            let (key, status) = waits.join().unwrap();
            assert_eq!((key, status.unwrap().code()), (2, Some(8)));
        });
        drop(end);
        let (key, status) = set.wait_timeout(LONG).unwrap();
        assert_eq!((key, status.unwrap().code()), (1, Some(7)));
        assert_eq!(first.wait().unwrap().code(), Some(7));
    });
}

/// The thread that looks at children without a pidfd leaves at its deadline;
/// another one, which has waited without a limit, goes on with that.
#[test]
fn a_thread_that_leaves_passes_its_task_on() {
    let name = "a_thread_that_leaves_passes_its_task_on";
    with_and_without(name, |spawn| {
        let set = WaitSet::new().unwrap();
        let (mut watched_command, watched_end) = until_closed(1);
        let mut watched = watched_command.spawn().unwrap();
        set.insert(1, &watched.process());
        thread::scope(|scope| {
            let waits: Vec<_> = [None, Some(SHORT), Some(SHORT * 2), None]
                .into_iter()
                .map(|limit| {
                    let set = &set;
                    scope.spawn(move || match limit {
                        Some(limit) => set.wait_timeout(limit),
                        None => set.wait(),
                    })
                })
                .collect();
            thread::sleep(SHORT / 2);
            let (command, end) = until_closed(2);
            let mut child = spawn(command);
            set.insert(2, &child.process());
            thread::sleep(SHORT * 3);
            drop(end);
            let begun = Instant::now();
            while set.len() > 1 {
                assert!(begun.elapsed() < LONG);
                thread::sleep(Duration::from_millis(1));
            }
            drop(watched_end);
            let ends = waits.into_iter().filter_map(|t| t.join().unwrap());
            let mut keys: Vec<i32> = ends.map(|end| end.0).collect();
            keys.sort_unstable();
            assert_eq!(keys, [1, 2]);
        });
    });
}

#[test]
fn a_removed_child_is_not_returned_and_ends_waits_for_nothing_else() {
    let name =
        "a_removed_child_is_not_returned_and_ends_waits_for_nothing_else";
    with_and_without(name, |spawn| {
        let set = WaitSet::new().unwrap();
        let (command, end) = until_closed(7);
        let mut child = spawn(command);
        let process = child.process();
        assert_eq!(set.remove(&process), None);
        assert_eq!(set.insert("a", &process), None);
        assert_eq!(set.insert("b", &process), Some("a"));
        assert_eq!(set.len(), 1);
        thread::scope(|scope| {
            let waits: Vec<_> =
                (0..3).map(|_| scope.spawn(|| set.wait().is_none())).collect();
            thread::sleep(SHORT);
            assert_eq!(set.remove(&process), Some("b"));
            assert!(waits.into_iter().all(|waits| waits.join().unwrap()));
        });
        drop(end);
        // It has ended, and is inserted again.
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(set.wait().is_none());
        set.insert("c", &process);
        let (key, status) = set.try_wait().unwrap();
        assert_eq!((key, status.unwrap().code()), ("c", Some(7)));
    });
}

#[test]
fn what_is_reaped_elsewhere_is_returned_with_a_status_or_an_error() {
    let name =
        "what_is_reaped_elsewhere_is_returned_with_a_status_or_an_error";
    with_and_without(name, |spawn| {
        let set = WaitSet::new().unwrap();
        let (command, end) = until_closed(7);
        let mut child = spawn(command);
        set.insert(1, &child.process());
        drop(end);
        // By another handle of the library.
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let (key, status) = set.wait().unwrap();
        assert_eq!((key, status.unwrap().code()), (1, Some(7)));
        // By other code.
        let (command, end) = until_closed(7);
        let mut child = spawn(command);
        set.insert(2, &child.process());
        drop(end);
        let pid = i32::try_from(child.id()).unwrap();
        // SAFETY: reaps the child, without the library.
        let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, pid);
        let (key, status) = set.wait().unwrap();
        assert_eq!(key, 2);
        match (status, wait_any(&mut [child])) {
            (Ok(status), Ok((0, same))) => {
                assert_eq!((status.code(), same), (Some(7), status));
            }
            (Err(error), Err(other)) => {
                assert_eq!(error.step(), Step::Wait);
                assert!(error.to_string().contains("is lost"), "{error}");
                assert_eq!(other.operand().unwrap(), pid.to_string().as_str());
            }
            other => panic!("{other:?}"),
        }
    });
}

/// A timer's signal every 5 ms neither ends nor lengthens the waits.
#[test]
fn waits_for_a_set_survive_periodic_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    let name = "waits_for_a_set_survive_periodic_signals";
    with_and_without(name, |spawn| {
        // SAFETY: all zeros is an empty action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = nothing as *const () as usize;
        let none = std::ptr::null_mut();
        // SAFETY: the handler does nothing.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, none) };
        let every = libc::timeval { tv_sec: 0, tv_usec: 5000 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: reads one itimerval.
        unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
        let set = WaitSet::new().unwrap();
        let (command, end) = until_closed(7);
        let mut children = [spawn(command)];
        set.insert(1, &children[0].process());
        let time = Duration::from_millis(100);
        let begun = Instant::now();
        assert!(set.wait_timeout(time).is_none());
        assert!(begun.elapsed() >= time);
        thread::scope(|scope| {
            let waits = scope.spawn(|| set.wait().unwrap());
            let any = scope.spawn(|| wait_any(&mut children).unwrap());
            thread::sleep(SHORT * 2);
            drop(end);
            assert_eq!(waits.join().unwrap().1.unwrap().code(), Some(7));
            assert_eq!(any.join().unwrap().1.code(), Some(7));
        });
        let never = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let timer = libc::itimerval { it_interval: never, it_value: never };
        // SAFETY: reads one itimerval.
        unsafe { libc::setitimer(0, &raw const timer, std::ptr::null_mut()) };
    });
}

/// Neither those that epoll watches nor the others are left to the end.
#[test]
fn children_with_a_pidfd_and_without_take_turns() {
    let name = "children_with_a_pidfd_and_without_take_turns";
    if !util::inside(name, &[]) {
        return;
    }
    let set = WaitSet::new().unwrap();
    let mut children = Vec::new();
    for n in 0..12 {
        let mut child = match n {
            0..6 => Command::new("true").spawn().unwrap(),
            _ => without_pidfd(&mut Command::new("true")),
        };
        set.insert(n, &child.process());
        children.push(child);
    }
    children.iter().for_each(wait_for_zombie);
    let kinds: Vec<bool> =
        (0..12).map(|_| set.wait().unwrap().0 < 6).collect();
    assert!(kinds.windows(2).all(|two| two[0] != two[1]), "{kinds:?}");
}

#[test]
fn where_a_filter_rejects_epoll_wait_the_children_are_looked_at() {
    let _alone = alone();
    let set = WaitSet::new().unwrap();
    let mut ends = Vec::new();
    for n in 0..3 {
        let (mut command, end) = until_closed(n);
        set.insert(n, &command.spawn().unwrap().process());
        ends.push(end);
    }
    let action = Action::Errno(u16::try_from(libc::EPERM).unwrap());
    filter::with(libc::SYS_epoll_pwait, action, || {
        assert!(set.wait_timeout(SHORT).is_none());
        drop(ends.remove(1));
        assert_eq!(set.wait().unwrap().0, 1);
    });
    drop(ends);
    let mut rest = [set.wait().unwrap().0, set.wait().unwrap().0];
    rest.sort_unstable();
    assert_eq!(rest, [0, 2]);
}

#[test]
fn a_set_that_is_dropped_neither_kills_nor_reaps() {
    let name = "a_set_that_is_dropped_neither_kills_nor_reaps";
    with_and_without(name, |spawn| {
        let set = WaitSet::new().unwrap();
        let fds: Vec<String> =
            [set.as_raw_fd()].iter().map(ToString::to_string).collect();
        let (command, end) = until_closed(7);
        let mut runs = spawn(command);
        let mut ended = spawn(Command::new("true"));
        set.insert(1, &runs.process());
        set.insert(2, &ended.process());
        wait_for_zombie(&ended);
        drop(set);
        let open = util::reporter::descriptors();
        assert!(!open.iter().any(|fd| fds.contains(&fd.0)));
        wait_for_zombie(&ended);
        assert!(ended.wait().unwrap().success());
        assert!(runs.try_wait().unwrap().is_none());
        drop(end);
        assert_eq!(runs.wait().unwrap().code(), Some(7));
    });
}

#[test]
fn a_set_takes_descriptors_and_says_if_there_are_none() {
    let name = "a_set_takes_descriptors_and_says_if_there_are_none";
    if !util::inside(name, &[]) {
        return;
    }
    let hard = 4096;
    for (free, call) in [(0, "epoll_create"), (1, "eventfd")] {
        util::limit(libc::RLIMIT_NOFILE, util::limit_with(free), hard);
        let error = WaitSet::<u8>::new().unwrap_err();
        util::limit(libc::RLIMIT_NOFILE, hard, hard);
        util::clean::assert_error(
            &error,
            Step::Wait,
            Some(call),
            libc::EMFILE,
        );
    }
    // None is lost.
    let before = util::limit_with(0);
    drop(WaitSet::<u8>::new().unwrap());
    assert_eq!(util::limit_with(0), before);
    drop(File::open("/dev/null").unwrap());
}

#[test]
fn any_of_a_few_children_is_waited_for() {
    let error = wait_any(&mut []).unwrap_err();
    refused(&error, Step::Wait, None, "no child to wait for");
    let name = "any_of_a_few_children_is_waited_for";
    with_and_without(name, |spawn| {
        let mut ends = Vec::new();
        let mut children = Vec::new();
        for n in 0..3 {
            let (command, end) = until_closed(n);
            ends.push(end);
            children.push(spawn(command));
        }
        children.push(Command::new("sleep").arg("1000").spawn().unwrap());
        drop(ends.remove(1));
        let (n, status) = wait_any(&mut children).unwrap();
        assert_eq!((n, status.code()), (1, Some(1)));
        // It is still there.
        assert_eq!(wait_any(&mut children).unwrap(), (1, status));
        children.remove(1);
        children[2].kill().unwrap();
        let (n, status) = wait_any(&mut children).unwrap();
        assert_eq!((n, status.signal()), (2, Some(libc::SIGKILL)));
        drop(ends);
        children.remove(2);
        while !children.is_empty() {
            let (n, _) = wait_any(&mut children).unwrap();
            children.remove(n);
        }
    });
}
