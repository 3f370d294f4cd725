//! Timeout: `timeout(1)`, which ends all that the program has started.
//!
//! The program gets SIGTERM (or `--signal`) when its time is over, and SIGKILL
//! some time after that (`--kill-after`); as with coreutils the exit status is
//! 124, or 137 after SIGKILL, 125 to 127 if it could not be started, else its
//! own. Then its tree is killed: with a control group of its own if the caller
//! may make one, so that nothing is left, otherwise as far as `/proc` shows it.
//! What ends in time leaves its background programs alone.
//!
//! Run: `cargo run --example timeout -- -k 1 5 sh -c 'sleep 60 & sleep 60'`
#![allow(unsafe_code, reason = "std has no signal masks")]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use offshoot::{Cgroup, Child, Command, Error, SignalSet, Step};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const TIMED_OUT: i32 = 124;
const FAILED: i32 = 125;
const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What the caller may send to end the program: it is passed on.
const FORWARDED: [i32; 4] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Options {
    signal: i32,
    kill_after: Option<Duration>,
    preserve_status: bool,
    verbose: bool,
    time: Option<Duration>,
    program: Vec<OsString>,
}

/// A number with `s`, `m`, `h` or `d`; 0 means never.
fn duration(text: &str) -> Result<Option<Duration>> {
    let (number, unit) = match text.chars().last() {
        Some('s') => (text.strip_suffix('s'), 1.0),
        Some('m') => (text.strip_suffix('m'), 60.0),
        Some('h') => (text.strip_suffix('h'), 3600.0),
        Some('d') => (text.strip_suffix('d'), 86_400.0),
        _ => (None, 1.0),
    };
    let seconds: f64 = number.unwrap_or(text).parse()?;
    // A century is as good as never.
    let seconds = (seconds * unit).min(100.0 * 365.0 * 86_400.0);
    let time = Duration::try_from_secs_f64(seconds)?;
    Ok(Some(time).filter(|time| !time.is_zero()))
}

fn signal(name: &str) -> Result<i32> {
    if let Ok(number @ 1..=64) = name.parse() {
        return Ok(number);
    }
    Ok(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "KILL" => libc::SIGKILL,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "TERM" => libc::SIGTERM,
        "STOP" => libc::SIGSTOP,
        _ => return Err(format!("{name}: no such signal").into()),
    })
}

impl Options {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options> {
        let mut args = args.into_iter();
        let mut options = Options {
            signal: libc::SIGTERM,
            kill_after: None,
            preserve_status: false,
            verbose: false,
            time: None,
            program: Vec::new(),
        };
        loop {
            let word = args.next().ok_or("a duration is missing")?;
            let word = word.to_str().ok_or("not UTF-8")?;
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (word, None),
            };
            let mut value = || -> Result<String> {
                let next = || args.next()?.into_string().ok();
                Ok(value.clone().or_else(next).ok_or("a value is missing")?)
            };
            match name {
                "-s" | "--signal" => options.signal = signal(&value()?)?,
                "-k" | "--kill-after" => {
                    options.kill_after = duration(&value()?)?;
                }
                "-p" | "--preserve-status" => options.preserve_status = true,
                "-v" | "--verbose" => options.verbose = true,
                _ => {
                    options.time = duration(word)?;
                    options.program = args.collect();
                    return Ok(options);
                }
            }
        }
    }
}

/// Blocks the signals of this thread that are forwarded, and returns a
/// descriptor that receives them.
fn receive_signals() -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in FORWARDED {
        // SAFETY: adds a signal to a set.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: reads one set, and writes none.
    unsafe {
        libc::pthread_sigmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        )
    };
    // SAFETY: reads one set.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the signal is at the begin of what is read.
fn next_signal(signals: &OwnedFd) -> io::Result<i32> {
    let mut info = [0; 128];
    let len = rustix::io::read(signals, &mut info)?;
    let number = info.first_chunk::<4>().filter(|_| len == info.len());
    Ok(number.map_or(0, |bytes| i32::from_ne_bytes(*bytes)))
}

/// Starts it in a process group of its own and, if possible, in a control
/// group of its own.
fn start(program: &[OsString]) -> std::result::Result<Child, Error> {
    let (name, args) = program.split_first().expect("a program");
    let mut command = Command::new(name);
    command.args(args).process_group(0);
    // Not what is blocked here.
    command.signal_mask(SignalSet::empty());
    if let Ok(own) = Cgroup::current() {
        match command.clone().own_cgroup(own).spawn() {
            Err(error) if error.step() == Step::Cgroup => {}
            started => return started,
        }
    }
    command.spawn()
}

/// What a wait has ended with.
enum Event {
    Ended,
    Signal(i32),
    TimeOver,
}

/// Waits for the end without reaping: until then the tree can be found.
fn wait(
    child: &Child,
    signals: &OwnedFd,
    until: Option<Instant>,
) -> Result<Event> {
    let pidfd = child.pidfd().ok_or("this kernel has no pidfds")?;
    loop {
        let left =
            until.map(|it| it.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose()?;
        let mut fds = [
            PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(Event::TimeOver),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(Event::Ended),
            Ok(_) => return Ok(Event::Signal(next_signal(signals)?)),
        }
    }
}

/// Runs a program with a limit of time, and returns the exit status.
fn run(options: &Options) -> Result<i32> {
    if options.program.is_empty() {
        return Err("a program is missing".into());
    }
    let signals = receive_signals()?;
    let mut child = match start(&options.program) {
        Ok(child) => child,
        Err(error) => {
            eprintln!("timeout: {error}");
            let missing = error.raw_os_error() == Some(libc::ENOENT);
            let exec = matches!(error.step(), Step::Exec | Step::Interpreter);
            return Ok(match (exec, missing) {
                (true, true) => NOT_FOUND,
                (true, false) => CANNOT_RUN,
                _ => FAILED,
            });
        }
    };
    let mut until = options.time.map(|time| Instant::now() + time);
    // The signal that ends the program, once there is one.
    let mut sent = None;
    let mut timed_out = false;
    loop {
        let signal = match wait(&child, &signals, until)? {
            Event::Ended => break,
            Event::Signal(signal) => signal,
            Event::TimeOver => {
                timed_out = true;
                if sent.is_some() { libc::SIGKILL } else { options.signal }
            }
        };
        if options.verbose {
            eprintln!("timeout: sending signal {signal}");
        }
        if signal == libc::SIGKILL {
            sent = Some(signal);
            break;
        }
        child.signal_group(signal)?;
        child.signal_group(libc::SIGCONT)?;
        sent = Some(signal);
        until = options.kill_after.map(|grace| Instant::now() + grace);
    }
    if sent.is_some() {
        let killed = child.kill_tree()?;
        if options.verbose {
            eprintln!("timeout: {killed:?}");
        }
    }
    let status = child.wait()?;
    let own = status.code().or_else(|| Some(128 + status.signal()?));
    Ok(match (sent, own) {
        (Some(libc::SIGKILL), _) => 128 + libc::SIGKILL,
        _ if timed_out && !options.preserve_status => TIMED_OUT,
        (_, own) => own.unwrap_or(FAILED),
    })
}

/// Returns the exit status, of wrong arguments too.
pub(crate) fn timeout(args: impl IntoIterator<Item = OsString>) -> i32 {
    let ran = Options::parse(args).and_then(|options| run(&options));
    ran.unwrap_or_else(|error| {
        eprintln!("timeout: {error}");
        FAILED
    })
}

#[allow(dead_code, reason = "a test calls `timeout`")]
fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if !args.is_empty() {
        std::process::exit(timeout(args));
    }
    let script = "trap '' TERM; sleep 60 & sleep 60; sleep 60";
    let shown = ["-v", "-k", "0.2", "0.2", "sh", "-c", script];
    let status = timeout(shown.map(OsString::from));
    println!("exit status {status}");
    assert_eq!(status, 128 + libc::SIGKILL);
}
