//! Fallbacks: with calls missing or blocked, a spawn uses another call and
//! reports it, or fails if the option is strict.
//!
//! A seccomp filter on one thread acts as a kernel without the call, or a
//! container that rejects it.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::thread;

use offshoot::{
    CloneFlags, Command, Engine, Launch, Memory, Method, Stdio, Step,
};
use util::clean::{assert_error, clean, spawn};
use util::filter::{self, Action};
use util::reporter::Report;
use util::{alone, fallbacks, inheritable, reporter, reporter_with};

const ENGINE_AUTO: Engine = Engine::Suspended;

/// As `util::run`, with a pipe for standard input too.
fn run(command: &mut Command) -> (Report, Launch) {
    util::run(command.stdin(Stdio::piped()))
}

/// Descriptors without close-on-exec.
fn leaky() -> Vec<OwnedFd> {
    let file = File::open("/dev/null").unwrap();
    [3, 20, 77, 200].map(|least| inheritable(&file, least)).into()
}

#[test]
fn without_clone3_the_legacy_clone_is_used() {
    let _alone = alone();
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        let nr = libc::SYS_clone3;
        filter::with(nr, Action::errno(errno), || {
            // The second spawn knows already, except for EINVAL, which has
            // other causes.
            for _ in 0..2 {
                let (report, launch) = run(&mut reporter());
                assert_eq!(report.fds(), [0, 1, 2]);
                assert_eq!(launch.call(), "clone");
                assert_eq!(launch.engine(), ENGINE_AUTO);
                let want = CloneFlags::VM
                    | CloneFlags::VFORK
                    | CloneFlags::PIDFD
                    | CloneFlags::FILES;
                assert_eq!(launch.flags(), want);
                assert_eq!(fallbacks(&launch), [("clone3", Some(errno))]);
                assert!(launch.confirmed());
                let text = launch.to_string();
                assert!(text.contains("clone instead of clone3"), "{text}");
            }
            let (_, launch) = run(reporter().memory(Memory::Private));
            assert_eq!(launch.engine(), Engine::Isolated);
            assert_eq!(launch.call(), "clone");
        });
    }
}

#[test]
fn a_strict_method_fails_with_the_kernels_errno() {
    let _alone = alone();
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        for memory in [Memory::Shared, Memory::Private] {
            let mut strict = Command::new("/bin/true");
            strict.method(Method::Clone3).memory(memory);
            let nr = libc::SYS_clone3;
            let fail =
                || filter::with(nr, Action::errno(errno), spawn(strict));
            assert_error(&clean(fail), Step::Clone, None, errno);
        }
        let mut ids = Command::new("/bin/true");
        ids.set_tid([99]);
        let nr = libc::SYS_clone3;
        let error =
            clean(|| filter::with(nr, Action::errno(errno), spawn(ids)));
        assert_eq!(error.raw_os_error(), Some(errno), "never dropped");
        let mut fork = Command::new("/bin/true");
        fork.method(Method::Fork);
        let nr = libc::SYS_clone;
        let fail = || filter::with(nr, Action::errno(errno), spawn(fork));
        assert_error(&clean(fail), Step::Clone, None, errno);
    }
}

/// A clone3 that works and rejects an argument is not a missing clone3.
#[test]
fn eperm_of_a_working_clone3_is_not_taken_for_a_missing_call() {
    let _alone = alone();
    let mut ids = Command::new("/bin/true");
    ids.set_tid([1]);
    let error = clean(spawn(ids));
    assert_eq!(error.step(), Step::SetTid, "{error}");
    let errno = error.raw_os_error().unwrap();
    assert!([libc::EPERM, libc::EEXIST].contains(&errno), "{error}");
    let mut child = Command::new("/bin/true").spawn().unwrap();
    assert_eq!(child.launch().call(), "clone3");
    child.wait().unwrap();
}

#[test]
fn each_method_uses_its_clone_call() {
    let _alone = alone();
    let cases = [
        (Method::Fork, "clone", Engine::Copied),
        (Method::Vfork, "clone", Engine::Suspended),
        (Method::Clone3, "clone3", Engine::Suspended),
        (Method::Auto, "clone3", Engine::Suspended),
    ];
    for (method, call, engine) in cases {
        let _leaky = leaky();
        let (report, launch) = run(reporter().method(method));
        assert_eq!(report.fds(), [0, 1, 2], "{method:?}");
        assert_eq!((launch.call(), launch.engine()), (call, engine));
        assert_eq!(launch.fallbacks().count(), 0);
        let vm = launch.flags().contains(CloneFlags::VM);
        assert_eq!(vm, engine == Engine::Suspended, "{method:?}");
        assert!(launch.confirmed());
    }
}

#[test]
fn a_legacy_clone_leaves_no_signal_handler_of_the_parent() {
    let _alone = alone();
    extern "C" fn handler(_: libc::c_int) {}
    let handler = handler as extern "C" fn(libc::c_int);
    for signal in [libc::SIGURG, libc::SIGRTMAX(), libc::SIGHUP] {
        // SAFETY: a handler that does nothing, for signals that are not sent.
        unsafe { libc::signal(signal, handler as usize) };
    }
    // SAFETY: ignores a signal that is not sent.
    unsafe { libc::signal(libc::SIGWINCH, libc::SIG_IGN) };
    // A signal that is pending when the child unblocks it gets its default
    // action: no handler of the parent runs.
    for method in [Method::Fork, Method::Vfork, Method::Clone3] {
        let (report, _) = run(reporter().method(method));
        let hex = |key| u64::from_str_radix(report.one(key), 16).unwrap();
        assert_eq!(hex("SigCgt"), 0, "{method:?}");
        let winch = 1u64 << (libc::SIGWINCH - 1);
        assert_ne!(hex("SigIgn") & winch, 0, "{method:?}: kept as ignored");
    }
    for signal in [libc::SIGURG, libc::SIGRTMAX(), libc::SIGHUP] {
        // SAFETY: restores the default action.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[test]
fn without_close_range_the_descriptor_list_is_read() {
    let _alone = alone();
    let _leaky = leaky();
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        filter::with(libc::SYS_close_range, Action::errno(errno), || {
            for memory in [Memory::Shared, Memory::Private] {
                let (report, launch) = run(reporter().memory(memory));
                assert_eq!(report.fds(), [0, 1, 2], "{errno} {memory:?}");
                let want = [("close_range", Some(errno))];
                assert_eq!(fallbacks(&launch), want);
                assert!(!launch.flags().contains(CloneFlags::FILES));
            }
            let mut hooked = reporter();
            // SAFETY: the hook makes one call through its context.
            unsafe {
                hooked.pre_exec(|context| context.dup2(2, 50));
            }
            let (report, launch) = run(&mut hooked);
            assert_eq!(report.fds(), [0, 1, 2, 50], "marked, not closed");
            assert_eq!(fallbacks(&launch), [("close_range", Some(errno))]);
        });
    }
}

#[test]
fn without_pidfds_the_pid_is_used() {
    let _alone = alone();
    // A kernel before 5.4, or a filter: no wait by pidfd.
    for errno in [libc::EINVAL, libc::EPERM, libc::ENOSYS] {
        let nr = libc::SYS_waitid;
        filter::with(nr, Action::errno(errno), || {
            if errno == libc::EINVAL {
                // EINVAL has no other cause; it is an error.
                return;
            }
            let mut sh = Command::new("/bin/sh");
            let mut child = sh.args(["-c", "exit 6"]).spawn().unwrap();
            assert!(child.launch().confirmed(), "by wait4");
            assert_eq!(child.wait().unwrap().code(), Some(6));
            // Threads inherit the filter.
            let mut child = sh.spawn().unwrap();
            let waits = [child.process(), child.process()]
                .map(|process| thread::spawn(move || process.wait()));
            assert_eq!(child.wait().unwrap().code(), Some(6));
            for wait in waits {
                assert_eq!(wait.join().unwrap().unwrap().code(), Some(6));
            }
            let missing = Command::new("/nope").spawn().unwrap_err();
            assert_error(&missing, Step::Exec, Some("/nope"), libc::ENOENT);
        });
        assert!(!util::has_children());
    }
    // Without pidfd_open the pipe engine uses the pid.
    filter::with(libc::SYS_pidfd_open, Action::errno(libc::ENOSYS), || {
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", "kill -9 $$"]).engine(Engine::Pipe);
        let mut child = sh.spawn().unwrap();
        assert!(child.pidfd().is_none());
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        child.kill().unwrap();
        let mut sleep = Command::new("/bin/sleep");
        let mut child = sleep.arg("60").engine(Engine::Pipe).spawn().unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

#[test]
fn without_a_robust_list_the_pipe_engine_is_used() {
    let _alone = alone();
    filter::with(
        libc::SYS_set_robust_list,
        Action::errno(libc::ENOSYS),
        || {
            let (report, launch) = run(reporter().memory(Memory::Private));
            assert_eq!(report.fds(), [0, 1, 2]);
            assert_eq!(launch.engine(), Engine::Pipe);
            let want = [("clone flags", Some(libc::ENOSYS))];
            assert_eq!(fallbacks(&launch), want);
        },
    );
    // With a named engine it is an error.
    let mut named = reporter_with(Engine::Copied);
    named.stdout(Stdio::null());
    let nr = libc::SYS_set_robust_list;
    let fail = || filter::with(nr, Action::errno(libc::ENOSYS), spawn(named));
    assert_error(&clean(fail), Step::RobustList, None, libc::ENOSYS);
}

/// Under valgrind, which runs vfork as fork, a missing program is an error and
/// an existing one runs.
#[test]
fn a_missing_program_is_reported_under_valgrind() {
    let _alone = alone();
    let name = "a_missing_program_is_reported_under_valgrind";
    let valgrind = ["valgrind", "-q", "--error-exitcode=9", "--tool=none"];
    if !std::process::Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return util::skip(name, "no valgrind");
    }
    if !util::inside(name, &valgrind) {
        return;
    }
    let missing = Command::new("/nope").spawn().map(drop).unwrap_err();
    assert_error(&missing, Step::Exec, Some("/nope"), libc::ENOENT);
    let mut sh = Command::new("/bin/sh");
    let mut child = sh.args(["-c", "exit 6"]).spawn().unwrap();
    assert_eq!(child.launch().engine(), Engine::Pipe);
    assert!(!child.launch().confirmed());
    assert_eq!(child.wait().unwrap().code(), Some(6));
}
