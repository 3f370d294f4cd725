//! Hazards of waiting: debuggers in the process, filters, flags of the pidfd,
//! and leaders that leave their group.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::ptr::null_mut;
use std::thread;
use std::time::Duration;

use offshoot::{
    Child, ChildEvent, Command, Errno, HookContext, PidFd, Stdio, Step,
};
use util::clean::assert_error;
use util::filter::{self, Action};
use util::fork::forked;
use util::no_pidfd::with_and_without;
use util::{alone, inside, is_root, skip};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn sleep(seconds: &str) -> Command {
    let mut sleep = Command::new("sleep");
    // One that a failure leaves behind keeps no output open.
    sleep.arg(seconds).stdout(Stdio::null()).stderr(Stdio::null());
    sleep
}

fn number(child: &Child) -> i32 {
    let pid = i32::try_from(child.id()).unwrap();
    assert!(pid > 1);
    pid
}

/// Stops a child as a debugger does; false where that is not allowed.
fn attach(child: &Child) -> bool {
    let (pid, none) = (number(child), null_mut::<libc::c_void>());
    // SAFETY: the test's own child, which has not been reaped.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) };
    if seized != 0 {
        return false;
    }
    // SAFETY: as above.
    let done =
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none) };
    assert_eq!(done, 0);
    // Until it has stopped, which a wait that takes nothing sees.
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let how = libc::WEXITED | libc::WNOWAIT | libc::__WALL;
    let id = child.id();
    // SAFETY: writes one siginfo.
    let seen =
        unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), how) };
    assert_eq!(seen, 0);
    true
}

#[test]
fn a_stop_of_a_child_that_this_process_traces_is_no_end() {
    let name = "a_stop_of_a_child_that_this_process_traces_is_no_end";
    with_and_without(name, |spawn| {
        let mut child = spawn(sleep("1000"));
        let pid = number(&child);
        if !attach(&child) {
            child.kill().unwrap();
            child.wait().unwrap();
            return skip(name, "may not trace its children");
        }
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.wait_timeout(SHORT).unwrap(), None);
        // The debugger's stop is still there.
        let mut status = 0;
        let how = libc::__WALL | libc::WNOHANG;
        // SAFETY: the test's own child; writes one int.
        let seen = unsafe { libc::waitpid(pid, &raw mut status, how) };
        assert_eq!(seen, pid);
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        child.kill().unwrap();
        let status = child.wait_timeout(LONG).unwrap().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));

        // A wait that blocks goes on, too.
        let mut child = spawn(sleep("1000"));
        let pid = number(&child);
        assert!(attach(&child));
        let ended = thread::scope(|scope| {
            let waits = scope.spawn(|| child.wait().unwrap());
            // It may begin later: then it sees the end only.
            thread::sleep(Duration::from_millis(200));
            // SAFETY: nobody reaps the child before this.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
            waits.join().unwrap()
        });
        assert_eq!(ended.signal(), Some(libc::SIGKILL));
    });
}

#[test]
fn children_are_signalled_where_a_filter_rejects_it_by_pidfd() {
    let name = "children_are_signalled_where_a_filter_rejects_it_by_pidfd";
    if !inside(name, &[]) {
        return;
    }
    for errno in [libc::EPERM, libc::ENOSYS] {
        let action = Action::errno(errno);
        filter::with(libc::SYS_pidfd_send_signal, action, || {
            let mut child = sleep("1000").process_group(0).spawn().unwrap();
            child.signal(libc::SIGCONT).unwrap();
            child.signal_group(libc::SIGCONT).unwrap();
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            child.kill().unwrap();
            let mut child = sleep("1000").spawn().unwrap();
            let status = child.terminate(LONG).unwrap();
            assert_eq!(status.signal(), Some(libc::SIGTERM));
            let mut group = sleep("1000").process_group(0).spawn().unwrap();
            group.signal_group(libc::SIGTERM).unwrap();
            assert_eq!(group.wait().unwrap().signal(), Some(libc::SIGTERM));
            let mut child = sleep("1000").spawn().unwrap();
            let process = child.process();
            child.kill_on_drop(true);
            drop(child);
            let status = process.wait().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        });
    }
}

/// Other code reaps a child, and another child gets its number.
#[test]
fn a_signal_by_number_reaches_no_process_that_reuses_it() {
    let name = "a_signal_by_number_reaches_no_process_that_reuses_it";
    if !inside(name, &[]) {
        return;
    }
    let first = sleep("0").process_group(0).spawn().unwrap();
    let pid = number(&first);
    // SAFETY: reaps the child, without the library.
    assert_eq!(unsafe { libc::waitpid(pid, null_mut(), 0) }, pid);
    let mut second = sleep("1000");
    let mut second = match second.process_group(0).set_tid([pid]).spawn() {
        Ok(second) => second,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return skip(name, "needs CAP_CHECKPOINT_RESTORE");
        }
        Err(error) => panic!("{error}"),
    };
    let action = Action::errno(libc::EPERM);
    filter::with(libc::SYS_pidfd_send_signal, action, || {
        first.kill().unwrap();
        let error = first.signal_group(libc::SIGKILL).unwrap_err();
        assert_error(&error, Step::Kill, None, libc::ESRCH);
    });
    second.signal(libc::SIGTERM).unwrap();
    assert_eq!(second.wait().unwrap().signal(), Some(libc::SIGTERM));
}

/// Sets `O_NONBLOCK` on the pidfd, as an event loop may do.
fn nonblocking(child: Child) -> Child {
    let fd = child.pidfd().unwrap().as_raw_fd();
    // SAFETY: a flag of a descriptor that the child owns.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(set, 0);
    child
}

#[test]
fn waits_block_where_the_pidfd_does_not() {
    let _alone = alone();
    let shell = |script: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).stdout(Stdio::piped());
        nonblocking(sh.spawn().unwrap())
    };
    let slow = "sleep 0.2; exit 7";
    assert_eq!(shell(slow).wait().unwrap().code(), Some(7));
    // The output ends before the program does.
    let output = shell("exec >&-; sleep 0.2; exit 7").wait_with_output();
    assert_eq!(output.unwrap().status.code(), Some(7));
    let pidfd = shell(slow).into_pidfd().unwrap();
    assert_eq!(pidfd.wait().unwrap().code(), Some(7));
    let mut stops = shell("sleep 0.1; kill -STOP $$; sleep 0.1; exit 7");
    let process = stops.process();
    let mut events = stops.events();
    let event = events.next().unwrap().unwrap();
    assert_eq!(event, ChildEvent::Stopped(libc::SIGSTOP));
    process.signal(libc::SIGCONT).unwrap();
    let event = events.next().unwrap().unwrap();
    assert_eq!(event, ChildEvent::Continued);
    match events.next().unwrap().unwrap() {
        ChildEvent::Ended(status) => assert_eq!(status.code(), Some(7)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signal_to_a_group_that_its_leader_has_left_is_an_error() {
    let name = "a_signal_to_a_group_that_its_leader_has_left_is_an_error";
    with_and_without(name, |spawn| {
        // SAFETY: returns a number.
        let other = unsafe { libc::getpgrp() };
        let mut leaves = sleep("1000");
        leaves.process_group(0);
        let leave = move |_: &mut HookContext<'_>| {
            // SAFETY: moves the child to the group of its parent.
            match unsafe { libc::setpgid(0, other) } {
                0 => Ok(()),
                _ => Err(Errno::from_raw_os_error(libc::EPERM)),
            }
        };
        // SAFETY: the hook makes one system call.
        unsafe { leaves.pre_exec(leave) };
        let mut child = spawn(leaves);
        let error = child.signal_group(libc::SIGTERM).unwrap_err();
        assert_error(&error, Step::Kill, None, libc::ESRCH);
        assert!(error.to_string().contains("has left"), "{error}");
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    });
}

/// Signal 0 to it fails with EPERM.
#[test]
fn a_pidfd_of_another_users_process_is_of_no_child() {
    let name = "a_pidfd_of_another_users_process_is_of_no_child";
    if !inside(name, &[]) {
        return;
    }
    let status = forked(|| {
        if is_root() {
            // SAFETY: sets the ids of this fork only.
            let set = unsafe { libc::setresuid(65534, 65534, 65534) };
            assert_eq!(set, 0);
        }
        let error = PidFd::open(1).unwrap().wait().unwrap_err();
        assert_error(&error, Step::Wait, None, libc::ECHILD);
        assert!(error.to_string().contains("no child"), "{error}");
        0
    });
    assert_eq!(status, 0);
}

/// The processor time of this thread.
fn busy() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: writes one timespec.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

#[test]
fn a_wait_with_a_timeout_rests_where_a_filter_rejects_ppoll() {
    let _alone = alone();
    let mut child = sleep("1000").spawn().unwrap();
    let action = Action::errno(libc::EPERM);
    filter::with(libc::SYS_ppoll, action, || {
        let before = busy();
        let waited = Duration::from_millis(500);
        assert_eq!(child.wait_timeout(waited).unwrap(), None);
        let spent = busy() - before;
        assert!(spent < waited / 4, "{spent:?}");
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
