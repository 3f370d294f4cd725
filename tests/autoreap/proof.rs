//! Proof: a child that fails or dies before exec is told from a program, as
//! without the option, and leaves nothing.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

use offshoot::{Command, Engine, Error, PidFd};

use super::{each, sh};
use crate::util::clean::clean;
use crate::util::filter::{self, Action};
use crate::util::has_children;

type Options = fn(&mut Command) -> &mut Command;

fn text(error: &Error) -> String {
    format!("{error} {error:?}")
}

/// Of each case the errors with the option and without are the same.
#[test]
fn a_failed_child_leaves_nothing_and_its_error_is_that_of_any_child() {
    let cases: [(&str, Options); 6] = [
        ("/nope/nothing", |c| c),
        ("nothing-of-this-name", |c| c),
        ("/etc/passwd", |c| c),
        ("/bin/true", |c| c.current_dir("/nope")),
        ("/bin/true", |c| c.process_group(i32::MAX)),
        ("/bin/true", |c| c.chroot("/proc/version")),
    ];
    each(|engine| {
        for (program, set) in cases {
            let mut command = Command::new(program);
            set(command.engine(engine));
            let usual = clean(|| command.spawn().map(drop));
            command.autoreap(true);
            let error = clean(|| command.spawn().map(drop));
            assert_eq!(text(&error), text(&usual), "{engine}");
            command.autokill(true).no_new_privs(true);
            let error = clean(|| command.spawn().map(drop));
            assert_eq!(text(&error), text(&usual), "{engine}");
        }
    });
}

#[test]
fn a_child_that_dies_before_exec_is_an_error_with_its_step() {
    each(|engine| {
        for nr in [libc::SYS_chdir, libc::SYS_umask] {
            let spawn = |autoreap| {
                let mut command = Command::new("/bin/true");
                command.engine(engine).current_dir("/").umask(0o77);
                command.autoreap(autoreap);
                let spawn = move || command.spawn().map(drop);
                clean(|| filter::with(nr, Action::Kill, spawn))
            };
            let (error, usual) = (spawn(true), spawn(false));
            assert_eq!(text(&error), text(&usual), "{engine}");
        }
    });
}

/// A filter that kills for the exec itself: not known to have exec'd, or known
/// to have died.
#[test]
fn a_child_that_dies_in_exec_is_never_a_confirmed_program() {
    each(|engine| {
        // In the others the exec of a helper is the first.
        if engine == Engine::Isolated {
            return;
        }
        let mut command = Command::new("/bin/true");
        command.engine(engine).autoreap(true);
        let spawn = || command.spawn();
        match filter::with(libc::SYS_execve, Action::Kill, spawn) {
            Err(_) => {}
            Ok(mut child) => {
                assert!(!child.launch().confirmed(), "{engine}");
                let status = child.wait().unwrap();
                assert_eq!(status.signal(), Some(libc::SIGSYS), "{engine}");
            }
        }
        assert!(!has_children(), "{engine}");
    });
}

/// Short programs, which have often ended before this process looks.
#[test]
fn short_programs_are_programs() {
    each(|engine| {
        for n in 0..50 {
            let mut child = sh(&format!("exit {n}"), engine).spawn().unwrap();
            assert!(child.launch().confirmed(), "{engine}");
            assert_eq!(child.wait().unwrap().code(), Some(n));
        }
    });
}

/// A thread that kills the children of the calling one until it is stopped.
fn killer(stop: Arc<AtomicBool>) -> thread::JoinHandle<u32> {
    // SAFETY: returns a number.
    let thread = unsafe { libc::gettid() };
    thread::spawn(move || {
        let path = format!("/proc/self/task/{thread}/children");
        let children = || fs::read_to_string(&path).unwrap();
        let mut killed = 0;
        while !stop.load(Ordering::Relaxed) {
            let Some(id) =
                children().split(' ').next().and_then(|id| id.parse().ok())
            else {
                continue;
            };
            let Ok(pidfd) = PidFd::open(id) else { continue };
            // It was a child before, so it is the one that is open.
            if children().split(' ').any(|other| other == id.to_string())
                && pidfd.signal(libc::SIGKILL).is_ok()
            {
                killed += 1;
            }
        }
        killed
    })
}

/// Each is a program that was killed, or an error, and none is left.
#[test]
fn a_kill_at_any_moment_is_an_error_or_a_killed_program() {
    each(|engine| {
        let stop = Arc::new(AtomicBool::new(false));
        let killer = killer(Arc::clone(&stop));
        for _ in 0..100 {
            match sh("exit 0", engine).spawn() {
                Ok(mut child) => {
                    let status = child.wait().unwrap();
                    let killed = status.signal() == Some(libc::SIGKILL);
                    assert!(killed || status.success(), "{status}");
                    assert!(killed || child.launch().confirmed());
                }
                Err(error) => {
                    // Of one that is killed as its second thread execs the
                    // kernel does not tell the signal.
                    let second = engine == Engine::Isolated;
                    let killed = error.signal().or(second.then_some(9));
                    assert_eq!(killed, Some(libc::SIGKILL), "{error}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        assert!(!has_children(), "{engine}");
    });
}
