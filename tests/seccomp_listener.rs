//! Seccomp listener: the parent has the descriptor of a child's filter, and
//! its first notification is of the program.
#![allow(unsafe_code, reason = "tests answer notifications")]

mod util;

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::thread;

use offshoot::{Command, Engine, Error, Groups, Memory, Step};
use util::clean::{clean, command, refused, spawn};
use util::notify::{self, Answer};
use util::{alone, each_of, elf, program, scratch};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

/// The engines that take a listener.
const ENGINES: [Engine; 2] = [Engine::Isolated, Engine::Copied];

type Row = (u16, u8, u8, u32);

/// A filter with an action for each of some calls, which allows all others.
fn filter(calls: &[(libc::c_long, u32)]) -> Vec<Row> {
    let mut all = vec![(0x20, 0, 0, 0)];
    for (nr, action) in calls {
        all.push((0x15, 0, 1, u32::try_from(*nr).unwrap()));
        all.push((0x06, 0, 0, *action));
    }
    all.push((0x06, 0, 0, ALLOW));
    all
}

fn notify(calls: &[libc::c_long]) -> Vec<Row> {
    let all: Vec<_> = calls.iter().map(|nr| (*nr, NOTIFY)).collect();
    filter(&all)
}

const EXEC: [libc::c_long; 2] = [libc::SYS_execve, libc::SYS_execveat];
const EXIT: libc::c_long = libc::SYS_exit_group;

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    pid: u32,
    nr: libc::c_long,
}

/// Answers all notifications with an errno, or lets the call pass with 0,
/// until no process has the filter. Returns the calls.
fn answer(listener: &OwnedFd, errno: i32) -> Vec<Call> {
    let mut calls = Vec::new();
    loop {
        let fd = listener.as_raw_fd();
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: reads and writes one pollfd.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 20_000) };
        assert!(ready >= 0 || !calls.is_empty(), "no notification");
        if poll.revents & libc::POLLIN == 0 {
            assert_eq!(ready, 1, "no end after {calls:?}");
            return calls;
        }
        let Ok(notice) = notify::receive(listener) else { continue };
        calls.push(Call { pid: notice.pid, nr: notice.nr.into() });
        let answer = match errno {
            0 => Answer::Continue,
            errno => Answer::Errno(errno),
        };
        notify::answer(listener, &notice, answer);
    }
}

fn no_new_privs() {
    // SAFETY: sets a flag of this thread.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    util::limit(libc::RLIMIT_CORE, 0, 0);
}

/// Runs a test in a process of its own, which may install filters.
fn inside(name: &str) -> bool {
    let inside = util::inside(name, &[]);
    if inside {
        no_new_privs();
    }
    inside
}

/// A program that exits with 7, which is its only call.
fn seven() -> std::path::PathBuf {
    let seven = scratch("listener-seven").join("seven");
    program(&seven, &elf::seven());
    seven
}

/// Runs a command whose only notification is of the exit of `seven`.
#[track_caller]
fn exits(mut seven: Command) {
    let mut child = seven.spawn().unwrap();
    let listener = child.take_seccomp_listener().unwrap();
    assert!(child.take_seccomp_listener().is_none());
    let call = Call { pid: child.id(), nr: EXIT };
    assert_eq!(answer(&listener, 0), [call]);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn the_first_exec_passes_and_those_of_the_program_are_denied() {
    let name = "the_first_exec_passes_and_those_of_the_program_are_denied";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    each_of(&ENGINES, |engine| {
        let mut sh = command("sh", engine);
        sh.args(["-c", "/bin/true 2>/dev/null || echo denied"]);
        sh.stdout(offshoot::Stdio::piped())
            .seccomp_with_listener(notify(&EXEC));
        let mut child = sh.spawn().unwrap();
        let listener = child.take_seccomp_listener().unwrap();
        let own = child.id();
        let calls = thread::spawn(move || answer(&listener, libc::EACCES));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"denied\n", "{engine}");
        let calls = calls.join().unwrap();
        assert!(calls.iter().all(|call| EXEC.contains(&call.nr)));
        assert!(calls.iter().all(|call| call.pid != own), "{calls:?}");
        assert!(!calls.is_empty());
    });
}

/// No notification of the program is received by the parent's `spawn`.
#[test]
fn every_call_of_the_program_is_notified() {
    let name = "every_call_of_the_program_is_notified";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let path = seven();
    each_of(&ENGINES, |engine| {
        for calls in [vec![EXIT], vec![EXIT, EXEC[0], EXEC[1]]] {
            for _ in 0..20 {
                let mut seven = command(&path, engine);
                seven.seccomp([(0x06, 0, 0, ALLOW)]);
                seven.seccomp_with_listener(notify(&calls));
                exits(seven);
            }
        }
    });
}

/// A child that may not wait by a call repeats a row that makes none.
#[test]
fn a_filter_may_forbid_every_call_but_exec() {
    let name = "a_filter_may_forbid_every_call_but_exec";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let path = seven();
    let only = vec![
        (0x20, 0, 0, 0),
        (0x15, 0, 1, u32::try_from(EXEC[0]).unwrap()),
        (0x06, 0, 0, ALLOW),
        (0x15, 0, 1, u32::try_from(EXIT).unwrap()),
        (0x06, 0, 0, NOTIFY),
        (0x06, 0, 0, KILL),
    ];
    each_of(&ENGINES, |engine| {
        for _ in 0..10 {
            let mut seven = command(&path, engine);
            seven.seccomp_with_listener(only.clone());
            exits(seven);
        }
    });
}

#[test]
fn a_failed_exec_is_an_error_although_each_call_is_notified() {
    let name = "a_failed_exec_is_an_error_although_each_call_is_notified";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let calls = [EXEC[0], EXEC[1], EXIT, libc::SYS_exit, libc::SYS_futex];
    each_of(&ENGINES, |engine| {
        let fails = |program: &str, filter: Vec<Row>| {
            let mut none = command(program, engine);
            none.env("PATH", "/nope:/dev/null:/none");
            none.seccomp_with_listener(filter);
            clean(spawn(none))
        };
        for program in ["/nope/true", "nope"] {
            let error = fails(program, notify(&calls));
            assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
        }
        let error = fails("/bin/true", filter(&[(EXEC[0], KILL)]));
        assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
        assert_eq!(error.signal(), Some(libc::SIGSYS), "{error}");
        let eperm = libc::SECCOMP_RET_ERRNO | 1;
        let error = fails("/bin/true", filter(&[(EXEC[0], eperm)]));
        assert_eq!(error.step(), Step::Exec, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        // A step before the filter fails.
        let mut early = command("/bin/true", engine);
        early.current_dir("/nope").seccomp_with_listener(notify(&calls));
        let error = clean(spawn(early));
        assert_eq!(error.step(), Step::Chdir, "{engine}: {error}");
    });
}

extern "C" fn nothing(_: libc::c_int) {}

#[test]
fn signals_every_few_milliseconds_do_not_disturb() {
    let name = "signals_every_few_milliseconds_do_not_disturb";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let path = seven();
    // SAFETY: all zeros is a sigaction; without SA_RESTART.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler does nothing.
    let set = unsafe {
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut())
    };
    assert_eq!(set, 0);
    let tick = libc::timeval { tv_sec: 0, tv_usec: 2000 };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: reads one itimerval.
    let set = unsafe {
        libc::setitimer(
            libc::ITIMER_REAL,
            &raw const timer,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(set, 0);
    each_of(&ENGINES, |engine| {
        for _ in 0..30 {
            let mut seven = command(&path, engine);
            seven.seccomp_with_listener(notify(&[EXIT, EXEC[0]]));
            exits(seven);
        }
    });
}

#[test]
fn a_listener_is_taken_from_a_child_with_another_user() {
    let name = "a_listener_is_taken_from_a_child_with_another_user";
    let _alone = alone();
    if !util::is_root() {
        return util::skip(name, "changes the user");
    }
    if !inside(name) {
        return;
    }
    let path = seven();
    each_of(&ENGINES, |engine| {
        let mut seven = command(&path, engine);
        seven.uid(65534).gid(65534).groups(Groups::clear());
        seven.before_exec(|_, _| Ok(()));
        seven.seccomp_with_listener(notify(&[EXIT, EXEC[0]]));
        exits(seven);
    });
}

/// As an unprivileged user.
#[test]
fn a_user_takes_a_listener_of_a_child_that_is_dumpable() {
    let name = "a_user_takes_a_listener_of_a_child_that_is_dumpable";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let path = seven();
    if util::is_root() {
        // SAFETY: changes the ids of this process.
        assert_eq!(unsafe { libc::setresgid(65534, 65534, 65534) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
    }
    let dumpable = |on: libc::c_ulong| {
        // SAFETY: sets a flag of this process.
        let done = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, on, 0, 0, 0) };
        assert_eq!(done, 0);
    };
    dumpable(1);
    let listens = |engine| {
        let mut seven = command(&path, engine);
        seven.seccomp_with_listener(notify(&[EXIT, EXEC[0]]));
        seven
    };
    each_of(&ENGINES, |engine| exits(listens(engine)));
    dumpable(0);
    each_of(&[Engine::Copied], |engine| {
        let error = clean(spawn(listens(engine)));
        assert_eq!(error.step(), Step::SeccompListener, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
        let text = error.to_string();
        assert!(text.contains("CAP_SYS_PTRACE"), "{text}");
    });
}

#[test]
fn a_child_has_one_listener() {
    let name = "a_child_has_one_listener";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let mut rows = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: ALLOW }];
    let program = libc::sock_fprog { len: 1, filter: rows.as_mut_ptr() };
    let (mode, flag) = (libc::SECCOMP_SET_MODE_FILTER, 8);
    // SAFETY: the kernel copies the program, which lives in this frame.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flag, &program) };
    assert!(fd >= 0);
    each_of(&ENGINES, |engine| {
        let mut busy = command("/bin/true", engine);
        busy.seccomp_with_listener(notify(&EXEC));
        let error = clean(spawn(busy));
        assert_eq!(error.step(), Step::SeccompListener, "{engine}: {error}");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "{error}");
    });
}

#[test]
fn a_listener_is_refused_where_nobody_can_take_it() {
    let _alone = alone();
    let plan = |set: fn(&mut Command) -> &mut Command| -> Error {
        let mut command = Command::new("/bin/true");
        command.no_new_privs(true).seccomp_with_listener(notify(&EXEC));
        set(&mut command).plan().unwrap_err()
    };
    let step = Step::SeccompListener;
    let error = plan(|c| c.memory(Memory::Shared));
    let option = Some("seccomp_with_listener");
    refused(&error, Step::Memory, option, "suspended until exec");
    let error = plan(|c| c.engine(Engine::Suspended));
    refused(&error, Step::Memory, option, "suspended until exec");
    let error = plan(|c| c.engine(Engine::Pipe));
    refused(&error, step, Some("engine"), "cannot take it");
    // SAFETY: the hook does nothing.
    let error = plan(|c| unsafe { c.pre_exec(|_| Ok(())) });
    refused(&error, step, Some("pre_exec"), "may fork");
    let error = plan(|c| c.seccomp_with_listener([(0x28, 0, 0, 0)]));
    let operand = Some("instruction 0: 0x28 0 0 0x0");
    refused(&error, step, operand, "cannot have this operation");
    let mut exec = Command::new("/bin/true");
    let error = exec.seccomp_with_listener(notify(&EXEC)).exec();
    refused(&error, step, None, "creates no process");
}

/// A listener that is dropped makes the calls fail with ENOSYS.
#[test]
fn without_its_listener_a_call_is_enosys() {
    let name = "without_its_listener_a_call_is_enosys";
    let _alone = alone();
    if !inside(name) {
        return;
    }
    let path = seven();
    each_of(&ENGINES, |engine| {
        let mut seven = command(&path, engine);
        seven.seccomp_with_listener(notify(&[EXIT]));
        let mut child = seven.spawn().unwrap();
        drop(child.take_seccomp_listener());
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "{status}");
        assert!(status.signal().is_some(), "it cannot exit");
    });
}
