//! Retry: spawns that make more than one clone call. Each fallback is taken
//! once. The init of a PID namespace can be cloned only once: that child
//! continues without a retry, or its error is the error of spawn.
#![allow(unsafe_code, reason = "the tests unshare and close descriptors")]

mod util;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use offshoot::{Child, Command, Engine, Error, Memory, Stdio, Step};
use util::clean::{assert_error, clean};
use util::filter::{self, Action};
use util::{alone, elf, is_root, limit, program, scratch, skip};

/// Upper limit for a spawn; one that loops exceeds it.
const SOON: Duration = Duration::from_secs(30);

/// Spawns in a new thread under these filters; the spawn must not loop.
#[track_caller]
fn filtered(
    calls: &'static [(libc::c_long, i32)],
    mut command: Command,
) -> Result<Child, Error> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for (nr, errno) in calls {
            filter::install(*nr, Action::errno(*errno));
        }
        let _ = send.send(command.spawn());
    });
    receive.recv_timeout(SOON).expect("spawn loops")
}

#[test]
fn a_spawn_ends_when_every_clone_is_rejected() {
    let _alone = alone();
    let rejections: [&'static [(libc::c_long, i32)]; 4] = [
        &[(libc::SYS_clone3, libc::EINVAL), (libc::SYS_clone, libc::EINVAL)],
        &[(libc::SYS_clone3, libc::ENOSYS), (libc::SYS_clone, libc::EINVAL)],
        &[(libc::SYS_clone3, libc::EPERM), (libc::SYS_clone, libc::EPERM)],
        &[(libc::SYS_clone3, libc::EMFILE), (libc::SYS_clone, libc::EMFILE)],
    ];
    for calls in rejections {
        for memory in [Memory::Auto, Memory::Private, Memory::Shared] {
            let mut command = Command::new("/bin/true");
            command.memory(memory).stdout(Stdio::piped());
            let error = clean(|| filtered(calls, command).map(drop));
            assert_eq!(error.step(), Step::Clone, "{calls:?}: {error}");
        }
    }
}

/// Runs `test` in a thread whose next child is the init of a PID namespace.
fn as_init<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let test = || {
        // SAFETY: changes the PID namespace of this thread's children only.
        let done = unsafe { libc::unshare(libc::CLONE_NEWPID) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        test()
    };
    thread::scope(|scope| scope.spawn(test).join().unwrap())
}

/// Runs the test in its own process; false where that cannot create PID
/// namespaces, or in the parent.
fn is_ready(name: &str) -> bool {
    if !is_root() {
        skip(name, "a PID namespace needs CAP_SYS_ADMIN");
        return false;
    }
    util::inside(name, &[])
}

/// A shell that prints its pid, with one engine or the default.
fn shell(engine: Option<Engine>) -> Command {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", "echo $$"]).stdout(Stdio::piped());
    engine.map(|engine| sh.engine(engine));
    sh
}

fn engines() -> impl Iterator<Item = Option<Engine>> {
    util::ENGINES.into_iter().map(Some).chain([None])
}

#[test]
fn an_init_is_cloned_once_whichever_of_0_to_2_are_closed() {
    let name = "an_init_is_cloned_once_whichever_of_0_to_2_are_closed";
    let _alone = alone();
    if !is_ready(name) {
        return;
    }
    // SAFETY: duplicates open descriptors.
    let saved =
        [0, 1, 2].map(|n| unsafe { libc::fcntl(n, libc::F_DUPFD, 90) });
    for engine in engines() {
        for closed in 1..8 {
            for n in (0..3).filter(|n| closed & (1 << n) != 0) {
                // SAFETY: closes a descriptor that is restored below.
                unsafe { libc::close(n) };
            }
            let result = as_init(|| {
                shell(engine).spawn().and_then(Child::wait_with_output)
            });
            for (n, fd) in (0..).zip(saved) {
                // SAFETY: restores the descriptor.
                unsafe { libc::dup2(fd, n) };
            }
            let output = result.unwrap();
            assert_eq!(output.stdout, b"1\n", "{engine:?} {closed:03b}");
        }
    }
}

#[test]
fn the_error_is_the_first_inits_not_the_second_clones() {
    let name = "the_error_is_the_first_inits_not_the_second_clones";
    let _alone = alone();
    if !is_ready(name) {
        return;
    }
    let dir = scratch("init");
    let path = dir.join("busy");
    program(&path, b"#!/bin/sh\nexit 0\n");
    let writer = OpenOptions::new().write(true).mode(0o755).open(&path);
    let _writer = writer.unwrap();
    for engine in engines() {
        let error = as_init(|| {
            let mut command = Command::new(&path);
            engine.map(|engine| command.engine(engine));
            command.spawn().map(drop).unwrap_err()
        });
        assert_error(&error, Step::Exec, path.to_str(), libc::ETXTBSY);
    }
}

/// Each of these rejections makes an ordinary spawn clone a second time.
#[test]
fn an_init_is_cloned_once_under_a_filter() {
    let name = "an_init_is_cloned_once_under_a_filter";
    let _alone = alone();
    if !is_ready(name) {
        return;
    }
    let rejected = [
        libc::SYS_close_range,
        libc::SYS_execveat,
        libc::SYS_memfd_create,
        libc::SYS_capget,
        libc::SYS_clone3,
    ];
    for nr in rejected {
        for memory in [Memory::Auto, Memory::Private] {
            let test = || {
                let mut sh = shell(None);
                sh.memory(memory);
                let sh = || sh.spawn().and_then(Child::wait_with_output);
                as_init(sh)
            };
            let result = filter::with(nr, Action::errno(libc::ENOSYS), test);
            let output = result.unwrap();
            assert_eq!(output.stdout, b"1\n", "{nr} {memory:?}");
        }
    }
}

/// The calls work in one thread and are rejected by the filter of another.
#[test]
fn an_init_is_cloned_once_when_only_its_thread_is_filtered() {
    let name = "an_init_is_cloned_once_when_only_its_thread_is_filtered";
    let _alone = alone();
    if !is_ready(name) {
        return;
    }
    for memory in [Memory::Auto, Memory::Private] {
        let mut sh = shell(None);
        sh.memory(memory);
        sh.spawn().and_then(Child::wait_with_output).unwrap();
        let sh = || sh.spawn().and_then(Child::wait_with_output);
        let test = || as_init(sh);
        let missing = Action::errno(libc::ENOSYS);
        let result = filter::with(libc::SYS_close_range, missing, test);
        assert_eq!(result.unwrap().stdout, b"1\n", "{memory:?}");
    }
}

/// The kernel allocates the init's pid, then finds no free descriptor for the
/// pidfd: a second clone without CLONE_PIDFD is not possible.
#[test]
fn an_init_is_cloned_once_when_no_descriptor_is_free() {
    let name = "an_init_is_cloned_once_when_no_descriptor_is_free";
    let _alone = alone();
    if !is_ready(name) {
        return;
    }
    let path = scratch("full-init").join("seven");
    program(&path, &elf::seven());
    let limit_to = |count| limit(libc::RLIMIT_NOFILE, count, 4096);
    let mut child = as_init(|| {
        let mut command = Command::new(&path);
        limit_to(0);
        let result = command.spawn();
        limit_to(4096);
        result.unwrap()
    });
    assert!(child.pidfd().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(7));
}
