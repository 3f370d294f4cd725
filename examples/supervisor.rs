//! Supervisor: keeps services running, restarts those that end, and stops all
//! of them in order.
//!
//! Each service starts within a deadline, is restarted after a pause that
//! doubles up to a limit while it keeps failing, and is given up after some
//! failures in a row. SIGTERM and SIGINT, or the end of the demonstration,
//! stop the rest: SIGTERM to the process group first, SIGKILL after a grace.
//! Whatever a service leaves behind is killed then: with a control group of its
//! own, if the caller may make one, nothing is left; otherwise what is in the
//! process group. One `WaitSet` waits for all of them beside the signals. Should
//! the supervisor itself be killed, its services end with it (but not what they
//! have started).
//!
//! Run: `cargo run --example supervisor`
#![allow(unsafe_code, reason = "std has no signal masks")]

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use offshoot::{Cgroup, Child, Command, SignalSet, Step, WaitSet};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a start may take, and a service to stop.
const START: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(2);
/// The pauses before a restart, and the failures after which there is none.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(30);
const MOST_FAILURES: u32 = 4;
/// A service that ran for so long has not failed at once.
const STABLE: Duration = Duration::from_secs(10);

struct Service {
    name: &'static str,
    line: &'static str,
    child: Option<Child>,
    started: Instant,
    /// When to start it next; `None`: it runs, or was given up.
    due: Option<Instant>,
    failures: u32,
}

impl Service {
    fn new(name: &'static str, line: &'static str) -> Service {
        let now = Instant::now();
        let (child, due, failures) = (None, Some(now), 0);
        Service { name, line, child, started: now, due, failures }
    }

    /// Starts it in a group of its own, without what is blocked here.
    fn start(&mut self, set: &WaitSet<&'static str>) {
        self.due = None;
        self.started = Instant::now();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", self.line]).signal_mask(SignalSet::empty());
        sh.process_group(0).die_with_parent();
        match start(&mut sh) {
            Ok(mut child) => {
                println!("{}: started", self.name);
                set.insert(self.name, &child.process());
                self.child = Some(child);
            }
            Err(error) => {
                println!("{}: {error}", self.name);
                self.failed();
            }
        }
    }

    /// Kills what it has left, and plans the next start, or none.
    fn failed(&mut self) {
        if let Some(child) = self.child.take() {
            kill_rest(child);
        }
        if self.started.elapsed() >= STABLE {
            self.failures = 0;
        }
        self.failures += 1;
        if self.failures == MOST_FAILURES {
            println!(
                "{}: given up after {} failures",
                self.name, self.failures
            );
            return;
        }
        let pause = FIRST_PAUSE * 2u32.pow(self.failures - 1);
        self.due = Some(Instant::now() + pause.min(LAST_PAUSE));
    }

    /// SIGTERM to its group, SIGKILL after the grace.
    fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.signal_group(libc::SIGTERM)?;
        if child.wait_timeout(GRACE)?.is_none() {
            child.signal_group(libc::SIGKILL)?;
        }
        println!("{}: stopped, {}", self.name, child.wait()?);
        kill_rest(child);
        Ok(())
    }
}

/// Starts a service in time, in a control group of its own if that is allowed.
fn start(sh: &mut Command) -> std::result::Result<Child, offshoot::Error> {
    if let Ok(own) = Cgroup::current() {
        match sh.clone().own_cgroup(own).spawn_deadline(START) {
            Err(error) if error.step() == Step::Cgroup => {}
            started => return started,
        }
    }
    sh.spawn_deadline(START)
}

/// Kills what a service has left: by its group, which a pidfd reaches although
/// its leader has ended (Linux 6.9), and by its control group.
fn kill_rest(mut child: Child) {
    let _ = child.signal_group(libc::SIGKILL);
    let _ = child.kill_tree();
}

/// Waits until a service has ended, a signal has come, or a moment; returns
/// whether to stop.
fn wait(
    set: &WaitSet<&'static str>,
    signals: &OwnedFd,
    until: Instant,
) -> Result<bool> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left)?;
    let mut fds = [
        PollFd::from_borrowed_fd(set.as_fd(), PollFlags::IN),
        PollFd::new(signals, PollFlags::IN),
    ];
    match poll(&mut fds, Some(&left)) {
        Ok(_) => Ok(!fds[1].revents().is_empty()),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Runs the services until a signal or a moment; returns those that were
/// given up.
fn supervise(
    services: &mut [Service],
    end: Instant,
) -> Result<Vec<&'static str>> {
    let signals = receive_signals()?;
    let set = WaitSet::new()?;
    while Instant::now() < end {
        let now = Instant::now();
        for service in services.iter_mut() {
            if service.due.is_some_and(|due| due <= now) {
                service.start(&set);
            }
        }
        let due = services.iter().filter_map(|service| service.due).min();
        if wait(&set, &signals, due.unwrap_or(end).min(end))? {
            println!("a signal: stopping");
            break;
        }
        while let Some((name, status)) = set.try_wait() {
            println!("{name}: {}", status?);
            let ended = services.iter_mut().find(|one| one.name == name);
            ended.into_iter().for_each(Service::failed);
        }
    }
    // In reverse order: a service may need those that started before it.
    services.iter_mut().rev().try_for_each(Service::stop)?;
    let given_up = services.iter().filter(|one| one.failures == MOST_FAILURES);
    Ok(given_up.map(|service| service.name).collect())
}

/// Blocks SIGTERM and SIGINT, and returns a descriptor that receives them.
fn receive_signals() -> io::Result<OwnedFd> {
    // SAFETY: all zeros is a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: adds a signal to a set.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    let (set, none) = (&raw const set, std::ptr::null_mut());
    // SAFETY: reads one set, and writes none.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set, none) };
    // SAFETY: reads one set.
    let fd = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn main() -> Result<()> {
    let mut services = [
        Service::new("database", "trap 'exit 0' TERM; sleep 60 & wait"),
        Service::new("web", "sleep 60"),
        Service::new("broken", "exit 1"),
    ];
    let end = Instant::now() + Duration::from_secs(1);
    let given_up = supervise(&mut services, end)?;
    assert_eq!(given_up, ["broken"]);
    Ok(())
}
