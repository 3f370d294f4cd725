//! Nonblocking: the flag of what the child is given, and of nothing else.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use offshoot::{ChildOpenOptions, Command, Engine, Stdio, Step};
use util::clean::{assert_error, clean, command, refused};
use util::{alone, each_engine, elf};

/// Whether the child sees descriptor `fd` as non-blocking.
fn seen(command: &mut Command) -> bool {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    flags & libc::O_NONBLOCK != 0
}

fn info(engine: Engine, fd: i32) -> Command {
    let mut cat = command("/bin/cat", engine);
    cat.arg(format!("/proc/self/fdinfo/{fd}"));
    cat
}

fn is_nonblocking(file: &impl AsRawFd) -> bool {
    // SAFETY: asks about a descriptor and writes no memory.
    let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK != 0
}

#[test]
fn the_flag_of_a_standard_descriptor_is_set_and_cleared() {
    each_engine(|engine| {
        for on in [false, true] {
            let (_here, there) = UnixStream::pair().unwrap();
            there.set_nonblocking(!on).unwrap();
            let own = there.try_clone().unwrap();
            let mut cat = info(engine, 0);
            cat.stdin(there).nonblocking(0, on);
            assert_eq!(seen(&mut cat), on, "{engine}");
            assert_eq!(is_nonblocking(&own), on, "the open file is shared");
        }
    });
}

#[test]
fn the_flag_of_any_descriptor_of_the_child_can_be_set() {
    each_engine(|engine| {
        let (_here, there) = UnixStream::pair().unwrap();
        let mut cat = info(engine, 9);
        cat.fd(9, there).nonblocking(9, true);
        assert!(seen(&mut cat), "{engine}");
        cat.nonblocking(9, false);
        assert!(!seen(&mut cat), "the last call counts");
        let mut read = ChildOpenOptions::new();
        let mut cat = info(engine, 9);
        cat.open_in_child(9, "/dev/null", read.read(true));
        assert!(seen(cat.nonblocking(9, true)), "{engine}");
    });
}

#[test]
fn the_end_of_a_pipe_that_stays_here_is_another_open_file() {
    each_engine(|engine| {
        let mut cat = command("/bin/cat", engine);
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        // cat itself expects that reads wait.
        cat.stderr(Stdio::null());
        cat.nonblocking(0, true).nonblocking(1, true);
        let mut child = cat.spawn().unwrap();
        let ends = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        assert!(!is_nonblocking(&ends.0) && !is_nonblocking(&ends.1));
        drop(ends);
        child.wait().unwrap();
    });
}

#[test]
fn a_descriptor_that_the_child_is_not_given_is_refused() {
    let why = "not given";
    for number in [-1, 3, 9, i32::MAX] {
        let mut command = Command::new("/bin/true");
        let error = command.nonblocking(number, true).plan().unwrap_err();
        let number = number.to_string();
        refused(&error, Step::Nonblocking, Some(&number), why);
    }
    let mut closed = Command::new("/bin/true");
    closed.stdin(Stdio::closed()).nonblocking(0, true);
    let error = closed.plan().unwrap_err();
    refused(&error, Step::Nonblocking, Some("0"), why);
    let mut script = Command::from_bytes(elf::seven());
    script.script_fd(8).nonblocking(8, false);
    assert!(script.plan().is_ok());
    let mut any = Command::new("/bin/true");
    any.inherit_unlisted_fds(true).nonblocking(77, true);
    assert!(any.plan().is_ok());
}

#[test]
fn a_descriptor_without_a_flag_is_named() {
    let mut path = OpenOptions::new();
    let path = path.read(true).custom_flags(libc::O_PATH).open("/").unwrap();
    let _alone = alone();
    each_engine(|engine| {
        let mut command = command("/bin/true", engine);
        command.fd(7, path.try_clone().unwrap()).nonblocking(7, true);
        let error = clean(|| command.spawn().map(drop));
        assert_error(&error, Step::Nonblocking, Some("7"), libc::EBADF);
        assert!(error.to_string().contains("O_PATH"), "{error}");
    });
}

/// What `Debug` prints of the options of this file.
#[test]
fn the_options_are_printed() {
    let mut all = Command::new("/bin/true");
    all.nonblocking(0, false).fd(7, File::open("/dev/null").unwrap());
    let text = format!("{all:#?}");
    assert!(text.contains("nonblocking: {\n        0: false,"), "{text}");
}
