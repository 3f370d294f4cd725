//! Kills: the end of a pidfd is the end of its program.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::thread;

use offshoot::{CloneFlags, Command, Engine, PidFd, Stdio, Step};

use super::{
    ENGINES, autokill, each, hangs_up_within, kernel_has_flags,
    wait_for_hang_up,
};
use crate::util::clean::{assert_error, clean};
use crate::util::fork::forked;
use crate::util::{alone, is_root, own_pids};

fn sleep(engine: Engine) -> Command {
    let mut sleep = autokill("sleep", engine);
    sleep.arg("60");
    sleep
}

/// A descriptor of the process that is no copy.
fn other_pidfd(id: u32) -> PidFd {
    PidFd::open(id).unwrap()
}

#[test]
fn the_drop_of_the_child_kills_the_program() {
    each(|engine| {
        let child = sleep(engine).spawn().unwrap();
        let flags = child.launch().flags();
        let all = CloneFlags::AUTOREAP
            | CloneFlags::NNP
            | CloneFlags::PIDFD_AUTOKILL;
        assert!(flags.contains(all), "{flags}");
        assert!(child.launch().confirmed(), "{engine}");
        let pidfd = other_pidfd(child.id());
        assert!(!hangs_up_within(pidfd.as_raw_fd(), 20), "{engine}");
        drop(child);
        wait_for_hang_up(pidfd.as_raw_fd());
        let status = pidfd.info().unwrap().exit_status().unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        // So does one that is to be reaped by the drop.
        let mut child = sleep(engine).spawn().unwrap();
        let pidfd = other_pidfd(child.id());
        child.reap_on_drop(true);
        drop(child);
        wait_for_hang_up(pidfd.as_raw_fd());
    });
}

#[test]
fn copies_of_the_pidfd_postpone_the_kill() {
    each(|engine| {
        let mut child = sleep(engine).spawn().unwrap();
        let pidfd = other_pidfd(child.id());
        let lives = || !hangs_up_within(pidfd.as_raw_fd(), 20);
        let process = child.process();
        drop(child);
        assert!(lives(), "a Process, {engine}");
        let copy = process.pidfd().unwrap().try_clone().unwrap();
        drop(process);
        assert!(lives(), "a clone, {engine}");
        drop(copy);
        wait_for_hang_up(pidfd.as_raw_fd());
        let child = sleep(engine).spawn().unwrap();
        let pidfd = other_pidfd(child.id());
        let own = child.into_pidfd().unwrap();
        assert!(!hangs_up_within(pidfd.as_raw_fd(), 20), "{engine}");
        drop(own);
        wait_for_hang_up(pidfd.as_raw_fd());
    });
}

/// A process that starts programs and is killed.
#[test]
fn the_end_of_the_parent_kills_the_program_and_that_of_a_thread_does_not() {
    each(|engine| {
        let child = thread::spawn(move || sleep(engine).spawn().unwrap());
        let child = child.join().unwrap();
        let pidfd = other_pidfd(child.id());
        assert!(!hangs_up_within(pidfd.as_raw_fd(), 20), "{engine}");
        drop(child);
        wait_for_hang_up(pidfd.as_raw_fd());

        let (mut reads, mut writes) = std::io::pipe().unwrap();
        let status = forked(|| {
            let child = sleep(engine).spawn().unwrap();
            writes.write_all(&child.id().to_ne_bytes()).unwrap();
            let own = i32::try_from(std::process::id()).unwrap();
            // SAFETY: two numbers; it ends this process, the fork.
            unsafe { libc::kill(own, libc::SIGKILL) };
            0
        });
        assert_eq!(status, libc::SIGKILL, "{engine}");
        let mut id = [0; 4];
        reads.read_exact(&mut id).unwrap();
        // It has been killed by now, and may have been reaped.
        if let Ok(pidfd) = PidFd::open(u32::from_ne_bytes(id)) {
            let path = format!("/proc/{}/comm", u32::from_ne_bytes(id));
            let name = fs::read_to_string(path);
            let is_it = name.is_ok_and(|name| name == "sleep\n");
            assert!(!is_it || hangs_up_within(pidfd.as_raw_fd(), 60_000));
        }
    });
}

#[test]
fn a_program_that_was_waited_for_is_none_to_kill() {
    each(|engine| {
        for _ in 0..20 {
            let mut child = autokill("true", engine).spawn().unwrap();
            assert!(child.wait().unwrap().success());
        }
        let mut cat = autokill("cat", engine);
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut cat = cat.spawn().unwrap();
        cat.stdin.take().unwrap().write_all(b"through").unwrap();
        let output = cat.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"through");
        assert!(output.status.success());
    });
}

/// Neither the no_new_privs of the parent nor that of a row is enough.
#[test]
fn without_the_flag_or_the_capability_the_error_says_which() {
    let _alone = alone();
    let why = "it takes no_new_privs of the command, or CAP_SYS_ADMIN";
    let run = || {
        for engine in ENGINES {
            let mut command = Command::new("true");
            command.engine(engine).autokill(true);
            if !kernel_has_flags() {
                let error = clean(|| command.spawn().map(drop));
                assert_error(&error, Step::Autokill, None, libc::EINVAL);
                continue;
            }
            let error = clean(|| command.spawn().map(drop));
            assert_error(&error, Step::Autokill, None, libc::EPERM);
            assert!(error.to_string().contains(why), "{error}");
            command.no_new_privs(true);
            assert!(command.status().unwrap().success());
        }
        0
    };
    let unprivileged = || {
        if is_root() {
            // SAFETY: three numbers; the fork ends after the test.
            assert_eq!(unsafe { libc::setresuid(65534, 65534, 65534) }, 0);
        }
        run()
    };
    assert_eq!(forked(unprivileged), 0);
    if is_root() && kernel_has_flags() && !own_pids().is_empty() {
        let mut child = Command::new("true").autokill(true).spawn().unwrap();
        assert!(!child.launch().flags().contains(CloneFlags::NNP));
        assert!(child.wait().unwrap().success());
    }
}
