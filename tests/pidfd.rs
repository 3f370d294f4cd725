//! Pidfd: a descriptor waits for a process, signals it, and tells about it.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use offshoot::{Command, Error, Namespace, PidFd, Step};
use util::clean::{assert_error, command, refused};
use util::{alone, each_engine};

#[test]
fn a_pidfd_of_a_shared_child_is_a_copy() {
    each_engine(|engine| {
        let mut child = command("/bin/true", engine).spawn().unwrap();
        let process = child.process();
        let pidfd = child.into_pidfd().unwrap();
        assert!(pidfd.wait().unwrap().success());
        match process.wait() {
            Ok(status) => assert!(status.success()),
            Err(error) => assert_eq!(error.step(), Step::Wait),
        }
    });
}

#[test]
fn a_pidfd_waits_signals_and_tells() {
    let _alone = alone();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let pidfd = PidFd::open(child.id()).unwrap();
    assert_eq!(pidfd.try_wait().unwrap(), None);
    match pidfd.info() {
        Ok(info) => {
            assert_eq!(info.pid(), Some(child.id()));
            assert_eq!(info.parent_pid(), Some(std::process::id()));
            // SAFETY: returns a number.
            let own = unsafe { libc::getuid() };
            assert_eq!(info.user_ids().unwrap()[0], own);
            assert!(
                info.group_ids().is_some() && info.exit_status().is_none()
            );
        }
        Err(error) => is_older_kernel(&error),
    }
    pidfd.signal(libc::SIGTERM).unwrap();
    assert_eq!(pidfd.wait().unwrap().signal(), Some(libc::SIGTERM));
    let error = pidfd.signal(libc::SIGTERM).unwrap_err();
    assert_error(&error, Step::Kill, None, libc::ESRCH);
    refused(&pidfd.signal(0).unwrap_err(), Step::Kill, Some("0"), "1 to 64");
    match child.wait() {
        Ok(status) => {
            assert_eq!(status.signal(), Some(libc::SIGTERM));
            let info = pidfd.info().unwrap();
            assert_eq!(info.exit_status(), Some(status));
            assert_eq!(info.pid(), None);
        }
        Err(error) => {
            assert_eq!(error.step(), Step::Wait);
            assert!(error.to_string().contains("is lost"), "{error}");
        }
    }
}

/// A request that the kernel does not have.
#[track_caller]
fn is_older_kernel(error: &Error) {
    let known = [libc::ENOTTY, libc::EINVAL, libc::EOPNOTSUPP];
    assert_eq!(error.step(), Step::Pidfd, "{error}");
    assert!(known.contains(&error.raw_os_error().unwrap()), "{error}");
}

#[test]
fn a_pidfd_of_no_child_says_so() {
    let own = PidFd::open(std::process::id()).unwrap();
    let error = own.try_wait().unwrap_err();
    assert_error(&error, Step::Wait, None, libc::ECHILD);
    assert!(error.to_string().contains("no child"), "{error}");
    for number in [0, u32::MAX, 1 << 31] {
        let error = PidFd::open(number).unwrap_err();
        let shown = number.to_string();
        refused(&error, Step::Pidfd, Some(&shown), "no process id");
    }
    let null = File::open("/dev/null").unwrap();
    let none = PidFd::from(OwnedFd::from(null));
    let error = none.signal(libc::SIGTERM).unwrap_err();
    assert_error(&error, Step::Kill, None, libc::EBADF);
    assert_eq!(none.wait().unwrap_err().step(), Step::Wait);
    assert_eq!(none.info().unwrap_err().step(), Step::Pidfd);
}

#[test]
fn a_descriptor_and_a_namespace_are_taken_from_a_process() {
    let own = PidFd::open(std::process::id()).unwrap();
    let (read, mut write) = std::io::pipe().unwrap();
    let copy = own.getfd(read.as_raw_fd()).unwrap();
    write.write_all(b"x").unwrap();
    let mut copy = File::from(copy);
    copy.read_exact(&mut [0]).unwrap();
    let error = own.getfd(-1).unwrap_err();
    assert_error(&error, Step::Pidfd, Some("-1"), libc::EBADF);
    match own.namespace(Namespace::Net) {
        Ok(net) => {
            let link = format!("/proc/self/fd/{}", net.as_raw_fd());
            let seen = std::fs::read_link(link).unwrap();
            let same = std::fs::read_link("/proc/self/ns/net").unwrap();
            assert_eq!(seen, same);
        }
        Err(error) => is_older_kernel(&error),
    }
}
