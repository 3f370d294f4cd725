//! Terminal: a child acquires a terminal, gets the foreground or gives its
//! terminal up, in every engine; a caller keeps its own.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

use offshoot::{Command, Engine, Stdio, Step, pty};
use util::clean::{assert_error, clean, command, spawn};
use util::fork::{end_with, fork, forked, forked_within};
use util::place::{Place, Waits, file, lead, place, stat, take_back};
use util::{ENGINES, State, alone, each_engine, scratch};

#[test]
fn a_child_acquires_the_terminal_that_it_is_given() {
    each_engine(|engine| {
        let before = Place::own();
        let (controller, terminal) = pty::open().unwrap();
        assert_eq!(controller.foreground_group().unwrap(), None);
        let mut cat = stat(engine);
        let (seen, group) = place(cat.controlling_terminal(terminal));
        assert_eq!((seen.session, seen.group), (seen.pid, seen.pid));
        assert_eq!((seen.foreground, group), (seen.pid, Some(seen.pid)));
        assert_ne!(seen.terminal, 0);
        assert_eq!(Place::own(), before);
        // The terminal's session has ended: it is free again.
        assert_eq!(place(&mut cat).0.terminal, seen.terminal);
        // By the descriptor of the other end.
        let (controller, _terminal) = pty::open().unwrap();
        let (seen, _) = place(stat(engine).controlling_terminal(controller));
        assert_eq!((seen.session, seen.foreground), (seen.pid, seen.pid));
    });
}

#[test]
fn a_terminal_is_0_1_and_2_and_the_controlling_terminal() {
    each_engine(|engine| {
        let (controller, terminal) = pty::open().unwrap();
        let path = controller.terminal_path().unwrap();
        let script = "test -t 0 && test -t 1 && test -t 2 && tty && \
                      ls /proc/$$/fd && echo end >/dev/tty";
        let mut sh = command("sh", engine);
        sh.args(["-c", script]).env("LC_ALL", "C").terminal(terminal);
        let mut child = sh.spawn().unwrap();
        drop(sh);
        let output = std::io::read_to_string(&controller).unwrap();
        assert!(child.wait().unwrap().success(), "{output}");
        let want = format!("{}\r\n0  1  2\r\nend\r\n", path.display());
        let words = |text: &str| {
            text.split_whitespace().map(String::from).collect::<Vec<_>>()
        };
        let seen = words(&output);
        // A shell may have the script or the terminal at 10 or above.
        assert_eq!(seen[..4], words(&want)[..4], "{output}");
        assert_eq!(seen.last().unwrap(), "end");
    });
}

#[test]
fn what_is_no_free_terminal_is_not_acquired() {
    let _alone = alone();
    let name = "what_is_no_free_terminal_is_not_acquired";
    if !util::inside(name, &[]) {
        return;
    }
    let (_controller, own) = lead();
    each_engine(|engine| {
        let fail = |fd: &dyn Fn() -> File, errno: i32, why: &str| {
            let mut lost = command("/bin/true", engine);
            let file = fd();
            let number = file.as_raw_fd().to_string();
            lost.controlling_terminal(file);
            let error = lost.spawn().unwrap_err();
            let step = Step::ControllingTerminal;
            assert_error(&error, step, Some(&number), errno);
            assert!(error.to_string().contains(why), "{error}");
        };
        let null = || File::open("/dev/null").unwrap();
        fail(&null, libc::ENOTTY, "not open on a terminal");
        // The terminal of this session.
        let taken = || file(&own);
        fail(&taken, libc::EPERM, "belongs to another session");
        let (controller, terminal) = pty::open().unwrap();
        drop(controller);
        let hung = || file(&terminal);
        fail(&hung, libc::EIO, "hung up");
    });
    assert_eq!(Place::own().foreground, Place::own().pid);
}

/// The caller's group is not orphaned, so that a plain call stops it.
#[test]
fn a_job_of_a_caller_in_the_background_gets_the_terminal() {
    let _alone = alone();
    let name = "a_job_of_a_caller_in_the_background_gets_the_terminal";
    if !util::inside(name, &[]) {
        return;
    }
    let (mut controller, terminal) = lead();
    let own_group = || {
        // SAFETY: takes no memory.
        assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
    };
    let pid = fork();
    if pid == 0 {
        end_with(|| {
            own_group();
            let fd = terminal.as_raw_fd();
            // SAFETY: takes no memory.
            unsafe { libc::tcsetpgrp(fd, Place::own().group) }
        });
    }
    let mut status = 0;
    // SAFETY: writes one int.
    unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
    assert!(libc::WIFSTOPPED(status), "{status}");
    assert_eq!(libc::WSTOPSIG(status), libc::SIGTTOU);
    // SAFETY: a child that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    util::fork::reap(pid);
    for engine in ENGINES {
        take_back(&terminal);
        controller.write_all(b"typed\n").unwrap();
        let status = forked_within(Duration::from_secs(60), || {
            own_group();
            let before = Place::own();
            assert_ne!(before.foreground, before.group);
            let mut job = command("sh", engine);
            job.args(["-c", "read line; cat /proc/$$/stat; echo $line"]);
            job.stdin(file(&terminal)).stdout(Stdio::piped());
            let job = job.foreground(file(&terminal)).spawn().unwrap();
            let group = job.process_group().unwrap();
            assert_eq!(u32::try_from(group), Ok(job.id()));
            let output = job.wait_with_output().unwrap().stdout;
            let output = String::from_utf8(output).unwrap();
            let (stat, line) = output.split_once('\n').unwrap();
            let seen = Place::parse(stat);
            assert_eq!((seen.group, seen.foreground), (seen.pid, seen.pid));
            assert_eq!(seen.session, before.session);
            assert_eq!(line, "typed\n");
            // The caller is where it was.
            let foreground = group;
            assert_eq!(Place::own(), Place { foreground, ..before });
            0
        });
        assert_eq!(status, Some(0), "{engine}");
    }
    take_back(&terminal);
}

#[test]
fn only_the_terminal_of_the_session_has_a_foreground() {
    let _alone = alone();
    let name = "only_the_terminal_of_the_session_has_a_foreground";
    if !util::inside(name, &[]) {
        return;
    }
    let (_controller, terminal) = lead();
    let fails = |engine: Engine, file: File| {
        let mut lost = command("/bin/true", engine);
        let number = file.as_raw_fd().to_string();
        let error = lost.foreground(file).spawn().unwrap_err();
        assert_error(&error, Step::Foreground, Some(&number), libc::ENOTTY);
        let why = "not open on the controlling terminal of the child's";
        assert!(error.to_string().contains(why), "{error}");
    };
    each_engine(|engine| {
        let null = File::open("/dev/null").unwrap();
        fails(engine, null);
        let (_controller, other) = pty::open().unwrap();
        fails(engine, file(&other));
        // A caller of another session.
        let foreign = forked(|| {
            // SAFETY: takes no memory.
            assert!(unsafe { libc::setsid() } > 0);
            fails(engine, file(&terminal));
            0
        });
        assert_eq!(foreign, 0);
        let lost = i32::MAX;
        let mut group = command("/bin/true", engine);
        group.process_group(lost).foreground(file(&terminal));
        let error = group.spawn().unwrap_err();
        let operand = lost.to_string();
        assert_error(&error, Step::Setpgid, Some(&operand), libc::EPERM);
    });
    assert_eq!(Place::own().foreground, Place::own().pid);
}

#[test]
fn a_detached_child_has_no_terminal_and_the_parent_keeps_it() {
    let _alone = alone();
    let name = "a_detached_child_has_no_terminal_and_the_parent_keeps_it";
    if !util::inside(name, &[]) {
        return;
    }
    let (controller, terminal) = lead();
    let before = Place::own();
    each_engine(|engine| {
        assert_eq!(place(&mut stat(engine)).0.terminal, before.terminal);
        let mut detached = stat(engine);
        let (seen, group) = place(detached.detach_terminal(true));
        assert_eq!((seen.terminal, seen.foreground), (0, -1));
        assert_eq!((seen.session, seen.group), (before.pid, before.pid));
        assert_eq!(group, None);
        let (seen, _) = place(detached.detach_terminal(false));
        assert_eq!(seen.terminal, before.terminal);
        assert_eq!(Place::own(), before);
        // There is none to give up.
        let script = "exec \"$0\" /proc/self/stat";
        let mut none = command("sh", engine);
        none.args(["-c", script, "cat"]).detach_terminal(true);
        let status = forked(|| {
            // SAFETY: takes no memory.
            assert!(unsafe { libc::setsid() } > 0);
            assert_eq!(place(&mut none).0.terminal, 0);
            0
        });
        assert_eq!(status, 0);
    });
    assert_eq!(controller.foreground_group().unwrap(), Some(before.pid));
    drop(terminal);
}

#[test]
fn a_rejected_detach_is_named_and_leaves_no_descriptor() {
    let _alone = alone();
    let name = "a_rejected_detach_is_named_and_leaves_no_descriptor";
    if !util::inside(name, &[]) {
        return;
    }
    let (_controller, _terminal) = lead();
    let nr = libc::SYS_ioctl;
    let action = util::filter::Action::errno(libc::EPERM);
    let named = |error: &offshoot::Error| {
        let (step, tty) = (Step::DetachTerminal, Some("/dev/tty"));
        assert_error(error, step, tty, libc::EPERM);
    };
    each_engine(|engine| {
        let mut lost = command("/bin/true", engine);
        lost.detach_terminal(true);
        let fail = || util::filter::with(nr, action, spawn(lost));
        named(&clean(fail));
    });
    let in_place = forked(|| {
        let before = State::now();
        let mut lost = Command::new("/bin/true");
        lost.detach_terminal(true);
        named(&util::filter::with(nr, action, move || lost.exec()));
        assert_eq!(State::now(), before);
        0
    });
    assert_eq!(in_place, 0);
}

#[test]
fn a_terminal_that_is_rejected_with_best_effort_is_reported() {
    let _alone = alone();
    let name = "a_terminal_that_is_rejected_with_best_effort_is_reported";
    if !util::inside(name, &[]) {
        return;
    }
    let (_controller, terminal) = lead();
    let waits = Waits::new();
    let null = || File::open("/dev/null").unwrap();
    let run = |mut all: Command| {
        let child = all.stdout(Stdio::piped()).spawn().unwrap();
        let steps: Vec<Step> =
            child.launch().refused().map(offshoot::Error::step).collect();
        let group = child.process_group();
        let output = child.wait_with_output().unwrap().stdout;
        let stat = String::from_utf8(output).unwrap();
        (Place::parse(&stat), group, steps)
    };
    each_engine(|engine| {
        let own = Place::own();
        let mut all = stat(engine);
        all.best_effort(|it| it.controlling_terminal(null()));
        let (seen, group, steps) = run(all);
        assert_eq!(steps, [Step::ControllingTerminal]);
        assert_eq!((seen.session, group), (seen.pid, Some(seen.pid)));
        // The group of the option outside is kept, one inside may fail.
        let mut all = stat(engine);
        all.best_effort(|it| it.foreground(null()).detach_terminal(false));
        let (seen, group, steps) = run(all.process_group(waits.1).clone());
        assert_eq!(steps, [Step::Foreground]);
        assert_eq!((seen.group, group), (waits.1, Some(waits.1)));
        let mut all = stat(engine);
        let front = file(&terminal);
        all.best_effort(|it| it.foreground(front).process_group(i32::MAX));
        let (seen, group, steps) = run(all);
        assert_eq!((steps, group), (vec![Step::Setpgid], None));
        assert_eq!((seen.group, seen.foreground), (own.group, own.group));
        let mut all = stat(engine);
        all.best_effort(|it| it.detach_terminal(true));
        let (seen, _, steps) = run(all);
        assert_eq!((seen.terminal, steps), (0, vec![]));
    });
}

#[test]
fn exec_acquires_a_terminal_in_place() {
    let _alone = alone();
    let path = scratch("exec-terminal").join("stat");
    let (controller, terminal) = pty::open().unwrap();
    let exec = || {
        let mut cat = Command::new("cat");
        cat.arg("/proc/self/stat").stdout(File::create(&path).unwrap());
        cat.controlling_terminal(file(&terminal)).foreground(file(&terminal));
        panic!("{}", cat.exec());
    };
    assert_eq!(forked(exec), 0);
    let seen = Place::parse(&fs::read_to_string(&path).unwrap());
    assert_eq!((seen.session, seen.foreground), (seen.pid, seen.pid));
    assert_ne!(seen.terminal, 0);
    drop(controller);
}

/// The ids that the child sees differ from those that its parent sees.
#[test]
fn a_group_in_another_pid_namespace_gets_the_terminal() {
    let _alone = alone();
    let name = "a_group_in_another_pid_namespace_gets_the_terminal";
    let wrap = util::own_pids();
    if wrap.is_empty() {
        return util::skip(name, "no PID namespace can be created");
    }
    if !util::inside(name, &wrap) {
        return;
    }
    let (_controller, terminal) = lead();
    each_engine(|engine| {
        let status = forked(|| {
            // SAFETY: only the children of this process are concerned.
            let apart = unsafe { libc::unshare(libc::CLONE_NEWPID) };
            assert_eq!(apart, 0, "{}", std::io::Error::last_os_error());
            let mut job = stat(engine);
            let (seen, group) = place(job.foreground(file(&terminal)));
            // As /proc of the outer namespace has them.
            assert!(seen.pid > 1);
            assert_eq!((seen.group, seen.foreground), (seen.pid, seen.pid));
            assert_eq!(group, Some(seen.pid));
            0
        });
        assert_eq!(status, 0, "{engine}");
        let (_controller, other) = pty::open().unwrap();
        let (seen, group) = place(stat(engine).controlling_terminal(other));
        assert_eq!((seen.session, seen.foreground), (seen.pid, seen.pid));
        assert_eq!(group, Some(seen.pid));
        take_back(&terminal);
    });
}
