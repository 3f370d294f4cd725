//! Beside: the two options together with others that concern the end of a child
//! or run code in it.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use offshoot::{Command, Engine, Errno, HookContext, Step};

use super::{
    CHILD_SIGNALS, autokill, autoreap, count_child_signals, each, sh,
    wait_for_hang_up,
};
use crate::util::{fork, has_children};
use std::os::fd::AsRawFd;

type Hook = fn(&mut HookContext<'_>) -> Result<(), Errno>;

fn copied(script: &str, hook: Hook) -> Command {
    let mut command = sh(script, Engine::Copied);
    // SAFETY: the hooks make system calls only.
    unsafe { command.pre_exec(hook) };
    command
}

/// As `daemon(3)`: the kernel reaps the child, and the fork runs the program.
fn daemonize(_: &mut HookContext<'_>) -> Result<(), Errno> {
    if fork::raw() != 0 {
        // SAFETY: ends the child, which called fork.
        unsafe { libc::_exit(0) };
    }
    Ok(())
}

fn fail(_: &mut HookContext<'_>) -> Result<(), Errno> {
    Err(Errno::from_raw_os_error(libc::EXDEV))
}

fn exit(_: &mut HookContext<'_>) -> Result<(), Errno> {
    // SAFETY: ends the child.
    unsafe { libc::_exit(3) }
}

#[test]
fn hooks_may_fail_fork_and_exit() {
    each(|engine| {
        if engine != Engine::Copied {
            return;
        }
        let mut seven = copied("exit 7", |_| Ok(())).spawn().unwrap();
        assert!(seven.launch().confirmed());
        assert_eq!(seven.wait().unwrap().code(), Some(7));
        let error = copied("exit 7", fail).spawn().unwrap_err();
        assert_eq!(error.step(), Step::PreExec);
        assert_eq!(error.raw_os_error(), Some(libc::EXDEV));
        let error = copied("exit 7", exit).spawn().unwrap_err();
        assert_eq!(error.step(), Step::PreExec, "{error}");
        let mut daemon = copied("echo ran", daemonize);
        daemon.stdout(offshoot::Stdio::piped());
        let output = daemon.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "of the child");
        assert_eq!(output.stdout, b"ran\n");
        assert!(!has_children());
    });
}

#[test]
fn a_parent_hook_runs_while_the_child_waits() {
    each(|engine| {
        if engine == Engine::Suspended {
            return;
        }
        let seen = Arc::new(AtomicU32::new(0));
        let stored = Arc::clone(&seen);
        let mut command = sh("exit 7", engine);
        command.before_exec(move |id, _| {
            stored.store(id, Ordering::Relaxed);
            Ok(())
        });
        let mut child = command.spawn().unwrap();
        assert_eq!(child.id(), seen.load(Ordering::Relaxed));
        assert_eq!(child.wait().unwrap().code(), Some(7));
        let mut command = sh("exit 7", engine);
        command.before_exec(|_, _| {
            Err(std::io::Error::from_raw_os_error(libc::EXDEV))
        });
        let error = command.spawn().unwrap_err();
        assert_eq!(error.step(), Step::BeforeExec);
        assert!(!has_children(), "{engine}");
    });
}

/// The thread that waits ends with the child.
#[test]
fn die_with_parent_and_autokill_go_together() {
    each(|engine| {
        let mut seven = sh("exit 7", engine);
        let mut seven = seven.die_with_parent().spawn().unwrap();
        assert_eq!(seven.wait().unwrap().code(), Some(7));
        let mut sleep = autokill("sleep", engine);
        let sleep = sleep.arg("60").die_with_parent().spawn().unwrap();
        let pidfd = offshoot::PidFd::open(sleep.id()).unwrap();
        drop(sleep);
        wait_for_hang_up(pidfd.as_raw_fd());
    });
}

#[test]
fn a_start_with_a_deadline_is_reaped_by_the_kernel_too() {
    each(|engine| {
        let limit = Duration::from_secs(60);
        let mut seven = sh("exit 7", engine).spawn_deadline(limit).unwrap();
        assert_eq!(seven.wait().unwrap().code(), Some(7));
        let signals = count_child_signals();
        let mut cat = autoreap("cat", engine);
        let cat = cat.stdin(offshoot::Stdio::piped()).start().unwrap();
        let mut cat = cat.wait().unwrap();
        cat.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        cat.kill().unwrap();
        assert_eq!(cat.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert_eq!(CHILD_SIGNALS.load(Ordering::SeqCst), signals);
    });
}

#[test]
fn a_prepared_command_and_a_pidfd_have_the_status() {
    each(|engine| {
        let prepared = sh("exit 7", engine).prepare().unwrap();
        for _ in 0..5 {
            let child = prepared.spawn().unwrap();
            let pidfd = child.into_pidfd().unwrap();
            assert_eq!(pidfd.wait().unwrap().code(), Some(7), "{engine}");
            assert_eq!(pidfd.try_wait().unwrap().unwrap().code(), Some(7));
        }
    });
}
