//! Slow starts: a child that waits before its exec for the other end of a FIFO.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Child, ChildOpenOptions, Command, Engine, Starting};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{has_children, scratch};

pub const LONG: Duration = Duration::from_secs(30);

pub fn command(program: &str, engine: Engine) -> Command {
    let mut command = Command::new(program);
    command.engine(engine);
    command
}

pub fn fifo(name: &str) -> PathBuf {
    let path = scratch(name).join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    path
}

/// A command whose child waits before exec until the FIFO has a writer.
pub fn waits(engine: Engine, fifo: &Path) -> Command {
    let mut waits = command("sleep", engine);
    let read = ChildOpenOptions::new().read(true).clone();
    waits.arg("60").open_in_child(9, fifo, &read);
    waits
}

/// Opens the other end once the child is there.
pub fn open_writer(fifo: &Path) -> File {
    File::options().write(true).open(fifo).unwrap()
}

/// Whether no child is left, by and by.
pub fn no_child_stays() -> bool {
    let until = Instant::now() + LONG;
    while has_children() && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    !has_children()
}

pub fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Whether the descriptor is readable within this time.
pub fn is_ready(starting: &Starting, milliseconds: i64) -> bool {
    let (tv_sec, rest) = (milliseconds / 1000, milliseconds % 1000);
    let timeout = Timespec { tv_sec, tv_nsec: rest * 1_000_000 };
    let mut fds = [PollFd::new(starting, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.unwrap() == 1,
        }
    }
}
