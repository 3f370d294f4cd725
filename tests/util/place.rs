//! Place: the session, process group and terminal of a process, and tests that
//! lead a session of their own.
#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};

use offshoot::pty::{self, Controller, Terminal};
use offshoot::{Command, Engine, Stdio};

use super::clean::command;

/// Another descriptor of a terminal.
pub fn file(terminal: &Terminal) -> File {
    File::from(OwnedFd::from(terminal.try_clone().unwrap()))
}

/// What `/proc/PID/stat` says of a process: its parent, process group, session,
/// terminal and the foreground group there (-1 without a terminal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub pid: i32,
    pub group: i32,
    pub session: i32,
    pub terminal: i32,
    pub foreground: i32,
}

impl Place {
    pub fn parse(stat: &str) -> Place {
        let (head, fields) = stat.rsplit_once(") ").unwrap();
        let pid = head.split(' ').next().unwrap().parse().unwrap();
        let mut fields = fields.split(' ').skip(2);
        let mut next = || fields.next().unwrap().parse().unwrap();
        let (group, session, terminal) = (next(), next(), next());
        let foreground = next();
        Place { pid, group, session, terminal, foreground }
    }

    pub fn own() -> Place {
        Place::parse(&fs::read_to_string("/proc/self/stat").unwrap())
    }
}

/// A command whose program prints its place to standard output.
pub fn stat(engine: Engine) -> Command {
    let mut cat = command("cat", engine);
    cat.arg("/proc/self/stat");
    cat
}

/// The place of a child, and the group that its `Child` returns.
#[track_caller]
pub fn place(command: &mut Command) -> (Place, Option<i32>) {
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let group = child.process_group();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (Place::parse(&String::from_utf8(output.stdout).unwrap()), group)
}

/// Makes this process the leader of a session with a terminal, which is not
/// hung up before it ends.
pub fn lead() -> (&'static Controller, Terminal) {
    // SAFETY: takes no memory.
    assert_eq!(unsafe { libc::setsid() }, Place::own().pid, "a leader");
    let (controller, terminal) = pty::open().unwrap();
    acquire(&terminal);
    let own = Place::own();
    assert_eq!((own.session, own.foreground), (own.pid, own.pid));
    (Box::leak(Box::new(controller)), terminal)
}

pub fn acquire(terminal: &impl AsRawFd) {
    let fd = terminal.as_raw_fd();
    // SAFETY: takes no memory.
    let done = unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Puts this process's group into the foreground, from wherever it is.
pub fn take_back(terminal: &Terminal) {
    let fd = terminal.as_raw_fd();
    let group = Place::own().group;
    // SAFETY: ignores a signal, which does not stop the process then.
    let before = unsafe { libc::signal(libc::SIGTTOU, libc::SIG_IGN) };
    // SAFETY: takes no memory.
    let done = unsafe { libc::tcsetpgrp(fd, group) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: restores what was there.
    unsafe { libc::signal(libc::SIGTTOU, before) };
}

/// A process that waits in a group of its own, until it is dropped.
pub struct Waits(offshoot::Child, pub i32);

impl Waits {
    pub fn new() -> Waits {
        let mut cat = Command::new("cat");
        cat.stdin(Stdio::piped()).process_group(0);
        let child = cat.spawn().unwrap();
        let group = child.process_group().unwrap();
        assert_eq!(i32::try_from(child.id()), Ok(group));
        Waits(child, group)
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.wait().unwrap();
    }
}
