//! Hooks that fork or close everything: spawn returns at once, the fork may
//! become the program, and nothing runs after an error.
#![allow(unsafe_code, reason = "hooks that fork and close")]

mod util;

use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use offshoot::{Command, Engine, Errno, HookContext, Step};
use util::clean::assert_error;
use util::{WITHOUT_HELPER, alone, each_of, fork, has_children};

type Hook = fn(&mut HookContext<'_>) -> Result<(), Errno>;

/// The engines that run hooks in private memory.
const COPIES: [Engine; 2] = [Engine::Copied, Engine::Pipe];

fn hooked(program: &str, engine: Engine, hook: Hook) -> Command {
    let mut command = Command::new(program);
    command.engine(engine);
    match engine {
        // SAFETY: the hooks make system calls only.
        Engine::Suspended => unsafe { command.pre_exec_shared(hook) },
        // SAFETY: as above.
        _ => unsafe { command.pre_exec(hook) },
    };
    command
}

fn close_all(_: &mut HookContext<'_>) -> Result<(), Errno> {
    // SAFETY: closes all descriptors of this process above 2.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    Ok(())
}

fn overwrite_all(context: &mut HookContext<'_>) -> Result<(), Errno> {
    (3..64).try_for_each(|fd| context.dup2(0, fd))
}

/// As `daemon(3)`.
fn daemonize(context: &mut HookContext<'_>) -> Result<(), Errno> {
    if fork::raw() != 0 {
        // SAFETY: ends the child, which called fork.
        unsafe { libc::_exit(0) };
    }
    context.setsid()
}

fn daemonize_and_close(context: &mut HookContext<'_>) -> Result<(), Errno> {
    daemonize(context)?;
    close_all(context)
}

fn daemonize_late(context: &mut HookContext<'_>) -> Result<(), Errno> {
    daemonize(context)?;
    // SAFETY: sleeps.
    unsafe { libc::usleep(2_500_000) };
    Ok(())
}

fn daemonize_and_fail(context: &mut HookContext<'_>) -> Result<(), Errno> {
    daemonize(context)?;
    Err(Errno::from_raw_os_error(libc::EXDEV))
}

/// The parent waits for the fork.
fn wait_for_fork(_: &mut HookContext<'_>) -> Result<(), Errno> {
    if fork::raw() != 0 {
        let mut status = 0;
        // SAFETY: writes one int.
        unsafe { libc::wait(&mut status) };
        // SAFETY: ends the child, which called fork.
        unsafe { libc::_exit(7) };
    }
    Ok(())
}

/// Runs `echo ran`; returns the exit code and all output, up to the end of
/// the pipe, when no process is left that could write.
fn run(mut command: Command) -> (Result<i32, offshoot::Error>, String) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::CLOEXEC).unwrap();
    command.args(["-c", "echo ran"]).stdout(write);
    let result = command.spawn();
    drop(command);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    let code = result.map(|mut child| child.wait().unwrap().code().unwrap());
    (code, text)
}

#[test]
fn a_hook_may_close_all_descriptors() {
    let name = "a_hook_may_close_all_descriptors";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    each_of(&WITHOUT_HELPER, |engine| {
        let all: [(Hook, usize); 2] = [(close_all, 40), (overwrite_all, 5)];
        for (hook, times) in all {
            for _ in 0..times {
                let begun = Instant::now();
                let mut sleep = hooked("/bin/sleep", engine, hook);
                let mut child = sleep.arg("60").spawn().unwrap();
                assert!(begun.elapsed() < Duration::from_secs(30), "{engine}");
                child.kill().unwrap();
                let status = child.wait().unwrap();
                assert_eq!(status.signal(), Some(libc::SIGKILL), "{engine}");
                let lost = hooked("/no/such/program", engine, hook).spawn();
                let error = lost.map(drop).unwrap_err();
                let lost = Some("/no/such/program");
                assert_error(&error, Step::Exec, lost, libc::ENOENT);
                assert!(!has_children(), "{engine}");
            }
        }
    });
}

/// A hook that daemonizes: the child that spawn created has ended, and the
/// program is another process.
#[test]
fn a_hook_may_fork_and_let_the_fork_exec() {
    let name = "a_hook_may_fork_and_let_the_fork_exec";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    each_of(&COPIES, |engine| {
        for (hook, code) in [
            (daemonize as Hook, 0),
            (daemonize_and_close, 0),
            (wait_for_fork, 7),
        ] {
            for _ in 0..20 {
                let (result, text) = run(hooked("/bin/sh", engine, hook));
                assert_eq!(result.unwrap(), code, "{engine}");
                assert_eq!(text, "ran\n", "{engine}");
            }
            let (result, text) = run(hooked("/no/such", engine, hook));
            assert_error(
                &result.unwrap_err(),
                Step::Exec,
                Some("/no/such"),
                libc::ENOENT,
            );
            assert_eq!(text, "");
            assert!(!has_children(), "{engine}");
        }
        let (result, _) = run(hooked("/bin/sh", engine, daemonize_and_fail));
        assert_error(&result.unwrap_err(), Step::PreExec, None, libc::EXDEV);
        assert!(!has_children(), "{engine}");
    });
}

/// In shared memory a fork has a copy of the status block: it exits, and so
/// does a fork that is too late.
#[test]
fn after_the_error_of_a_forking_hook_no_fork_runs_the_program() {
    let name = "after_the_error_of_a_forking_hook_no_fork_runs_the_program";
    let _alone = alone();
    if !util::inside(name, &[]) {
        return;
    }
    let shared = (Engine::Suspended, daemonize as Hook);
    let late = COPIES.map(|engine| (engine, daemonize_late as Hook));
    for (engine, hook) in [shared].into_iter().chain(late) {
        let (result, text) = run(hooked("/bin/sh", engine, hook));
        let error = result.unwrap_err();
        assert_eq!(error.step(), Step::PreExec, "{engine} {error}");
        assert!(error.to_string().contains("exited with 0"), "{error}");
        assert_eq!(text, "", "{engine}");
        assert!(!has_children(), "{engine}");
    }
}
