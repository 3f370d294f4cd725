//! Pty: the two ends of a pseudoterminal, as a program on it and its
//! controller see them.
#![allow(unsafe_code, reason = "the tests make calls that std does not offer")]

mod util;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::{fs, thread};

use offshoot::pty::{self, Controller, Size, Terminal};
use offshoot::{Command, Stdio, Step};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use util::clean::clean;
use util::filter::{self, Action};
use util::{alone, each_engine};

/// Reads until this text was printed.
fn read_until(mut controller: &Controller, end: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let text = String::from_utf8_lossy(&seen);
        if text.contains(end) {
            return text.into_owned();
        }
        let n = controller.read(&mut buffer).unwrap();
        assert_ne!(n, 0, "the end of {text:?}");
        seen.extend_from_slice(&buffer[..n]);
    }
}

#[test]
fn both_ends_are_close_on_exec_and_no_controlling_terminal() {
    let _alone = alone();
    let name = "both_ends_are_close_on_exec_and_no_controlling_terminal";
    if !util::inside(name, &[]) {
        return;
    }
    // A leader without a terminal would acquire the first that it opens.
    // SAFETY: takes no memory.
    assert!(unsafe { libc::setsid() } > 0);
    let (controller, terminal) = pty::open().unwrap();
    for fd in [controller.as_fd(), terminal.as_fd()] {
        assert_eq!(rustix::io::fcntl_getfd(fd).unwrap(), FdFlags::CLOEXEC);
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        assert_eq!(flags & OFlags::ACCMODE, OFlags::RDWR);
    }
    let named = rustix::termios::ttyname(&terminal, Vec::new()).unwrap();
    let path = controller.terminal_path().unwrap();
    assert_eq!(path.to_str(), named.to_str().ok());
    assert_eq!(controller.foreground_group().unwrap(), None);
    assert!(File::open("/dev/tty").is_err());
}

/// A filter rejects TIOCGPTPEER as an older kernel does.
#[test]
fn the_terminal_is_opened_by_its_path_on_older_kernels() {
    let _alone = alone();
    let peer = u32::try_from(libc::TIOCGPTPEER).unwrap();
    let before = util::State::now();
    let nr = libc::SYS_ioctl;
    filter::without_second(nr, peer, || {
        let (controller, terminal) = pty::open().unwrap();
        assert!(rustix::termios::isatty(&terminal));
        controller.set_size(Size::new(1, 2)).unwrap();
        assert_eq!(Size::of(terminal).unwrap(), Size::new(1, 2));
    });
    assert_eq!(util::State::now(), before);
    // Without any ioctl the error has the path that was opened.
    let failed = || {
        filter::with(nr, Action::errno(libc::EPERM), || pty::open().map(drop))
    };
    let error = clean(failed);
    assert_eq!(error.step(), Step::Pty);
    assert_eq!(error.operand().unwrap(), "/dev/ptmx");
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn a_shell_reads_what_is_typed_and_its_output_ends() {
    each_engine(|engine| {
        let (mut controller, terminal) = pty::open().unwrap();
        let mut sh = Command::new("sh");
        let script = "read a; echo got $a; echo err >&2; exit 7";
        sh.args(["-c", script]).terminal(terminal).engine(engine);
        let mut child = sh.spawn().unwrap();
        drop(sh);
        controller.write_all(b"words\n").unwrap();
        let mut output = String::new();
        controller.read_to_string(&mut output).unwrap();
        assert_eq!(output, "words\r\ngot words\r\nerr\r\n");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        // At the end it stays.
        assert_eq!(controller.read(&mut [0; 9]).unwrap(), 0);
        assert_eq!((&controller).read(&mut [0; 9]).unwrap(), 0);
    });
}

#[test]
fn more_output_than_the_buffer_of_a_terminal_arrives_in_whole() {
    let _alone = alone();
    let (controller, terminal) = pty::open().unwrap();
    let mut seq = Command::new("seq");
    let mut child = seq.arg("30000").terminal(terminal).spawn().unwrap();
    drop(seq);
    let output = io::read_to_string(&controller).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        output
            .lines()
            .map(str::to_string)
            .eq((1..=30_000).map(|n: u32| n.to_string()))
    );
}

/// ^C, ^Z, ^D and ^\ are for the group in the foreground.
#[test]
fn control_characters_reach_the_program() {
    each_engine(|engine| {
        for (typed, signal) in [(3, libc::SIGINT), (0x1c, libc::SIGQUIT)] {
            let (mut controller, terminal) = pty::open().unwrap();
            let mut sh = Command::new("sh");
            sh.args(["-c", "ulimit -c 0; echo up; exec cat"]);
            // Whatever starts this test may ignore them.
            sh.reset_signals();
            let mut child =
                sh.terminal(terminal).engine(engine).spawn().unwrap();
            drop(sh);
            read_until(&controller, "up\r\n");
            let group = i32::try_from(child.id()).unwrap();
            assert_eq!(controller.foreground_group().unwrap(), Some(group));
            controller.write_all(&[typed]).unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(signal));
        }
        let (mut controller, terminal) = pty::open().unwrap();
        let mut cat = Command::new("cat");
        cat.terminal(terminal).engine(engine);
        let mut child = cat.spawn().unwrap();
        drop(cat);
        controller.write_all(b"last\n\x04").unwrap();
        assert!(child.wait().unwrap().success());
        let output = io::read_to_string(&controller).unwrap();
        assert_eq!(output, "last\r\nlast\r\n");
    });
}

#[test]
fn the_size_is_what_was_set_and_a_change_is_a_signal() {
    let _alone = alone();
    let (controller, terminal) = pty::open().unwrap();
    assert_eq!(controller.size().unwrap(), Size::default());
    let size = Size { pixel_width: 640, pixel_height: 480, ..Size::new(5, 9) };
    controller.set_size(size).unwrap();
    assert_eq!(controller.size().unwrap(), size);
    assert_eq!(Size::of(&terminal).unwrap(), size);
    let mut sh = Command::new("sh");
    let script = "trap 'stty size; exit 0' WINCH; echo up; \
                  while :; do read line; done";
    sh.args(["-c", script]).terminal(terminal);
    let mut child = sh.spawn().unwrap();
    drop(sh);
    read_until(&controller, "up\r\n");
    controller.set_size(Size::new(50, 132)).unwrap();
    // Some shells run a trap only after the read.
    (&controller).write_all(b"\n").unwrap();
    let output = io::read_to_string(&controller).unwrap();
    assert!(output.contains("50 132\r\n"), "{output:?}");
    assert!(child.wait().unwrap().success());
    let null = File::open("/dev/null").unwrap();
    let error = Size::of(null).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTTY));
}

/// A login session whose terminal window is closed.
#[test]
fn closing_the_controller_hangs_the_terminal_up() {
    each_engine(|engine| {
        let (controller, terminal) = pty::open().unwrap();
        let mut cat = Command::new("cat");
        // Whatever starts this test may ignore SIGHUP.
        cat.terminal(terminal).engine(engine).reset_signals();
        let mut child = cat.spawn().unwrap();
        drop(controller);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGHUP));
    });
}

#[test]
fn handles_convert_as_those_of_std_do() {
    let _alone = alone();
    let (controller, terminal) = pty::open().unwrap();
    let again = controller.try_clone().unwrap();
    let number = controller.as_raw_fd();
    let fd = OwnedFd::from(controller);
    assert_eq!(fd.as_raw_fd(), number);
    let controller = Controller::from(fd);
    assert_eq!(controller.into_raw_fd(), number);
    // SAFETY: the number is open and has no owner.
    let mut controller =
        Controller::from(unsafe { OwnedFd::from_raw_fd(number) });
    let copy = terminal.try_clone().unwrap();
    let terminal = Terminal::from(OwnedFd::from(terminal));
    // As three descriptors, without a session.
    let mut tty = Command::new("sh");
    tty.args(["-c", "test -t 0 && test -t 1 && read a && echo $a$a"]);
    tty.stdin(terminal).stdout(copy).stderr(Stdio::null());
    let mut child = tty.spawn().unwrap();
    drop(tty);
    // One thread reads while another writes.
    let reader = thread::spawn(move || io::read_to_string(again).unwrap());
    controller.write_all(b"ab\n").unwrap();
    controller.flush().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(reader.join().unwrap(), "ab\r\nabab\r\n");
}

#[test]
fn a_non_blocking_controller_would_block() {
    let _alone = alone();
    let (mut controller, terminal) = pty::open().unwrap();
    rustix::io::ioctl_fionbio(&controller, true).unwrap();
    let error = controller.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(terminal);
    assert_eq!(controller.read(&mut [0; 9]).unwrap(), 0);
    // The terminal is opened again: it has not ended.
    let path = controller.terminal_path().unwrap();
    let mut options = fs::OpenOptions::new();
    options.write(true).custom_flags(libc::O_NOCTTY);
    let terminal = options.open(path).unwrap();
    (&terminal).write_all(b"x").unwrap();
    let mut buffer = [0; 9];
    assert_eq!(controller.read(&mut buffer).unwrap(), 1);
    assert_eq!(buffer[0], b'x');
}
