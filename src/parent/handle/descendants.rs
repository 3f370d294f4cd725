//! `Descendants`: the processes that a child has started, as `/proc` shows
//! them.
//!
//! A process is told from a later one with the same id by the time at which it
//! started. Each is signalled by a pidfd that was opened before `/proc` was
//! read, so that what was read is about the process that gets the signal. Only
//! one pidfd is open at a time: there may be more processes than descriptors.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pidfd::PidFd;
use crate::parent::std::collections::BTreeMap;
use crate::parent::std::os::fd::{AsFd, AsRawFd};
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;
use crate::parent::std::{format, fs, io, thread};
use crate::sys::kill::send_signal;
use crate::sys::safe::getpid;
use crate::sys::wait::{Target, is_unreaped, wait_by_pidfd_only};
use crate::sys::{Errno, Pid};

/// How often all are looked at again while some have not stopped: one that
/// waits in the kernel (for a child of vfork, say), or that is frozen, does not.
const LOOKS: u32 = 50;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// What `/proc/PID/stat` has of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: u8,
    pub(super) parent: u32,
    group: u32,
    session: u32,
    threads: u32,
    start: u64,
}

impl Stat {
    /// `None`: there is no such process, or `hidepid` hides it.
    pub(super) fn of(pid: Pid) -> io::Result<Option<Stat>> {
        match fs::read(format!("/proc/{}/stat", pid.get())) {
            Ok(text) => Ok(Stat::parse(&text)),
            Err(e) => match e.raw_os_error() {
                Some(
                    libc::ENOENT | libc::ESRCH | libc::EPERM | libc::EACCES,
                ) => Ok(None),
                _ => Err(e),
            },
        }
    }

    /// The name, in parentheses, may have any bytes.
    fn parse(text: &[u8]) -> Option<Stat> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let text = core::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
        // A group or session outside of the PID namespace is 0.
        let id = |n| u32::try_from(number(n)?).ok();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            threads: id(17)?,
            start: number(19)?,
        })
    }

    /// Whether it cannot start a process now. The first thread of a process
    /// may be a zombie before the others have ended.
    fn is_stopped(&self) -> bool {
        match self.state {
            b'T' | b't' | b'X' => true,
            b'Z' => self.threads <= 1,
            _ => false,
        }
    }
}

/// A process that was found.
#[derive(Clone, Copy)]
struct Member {
    start: u64,
    /// It was a child of this process, which its owner reaps.
    is_ours: bool,
    /// It may not be signalled.
    refused: bool,
}

/// A child, and what descends from it.
pub(super) struct Descendants {
    root: Pid,
    /// The root, if `/proc` does not show it.
    hidden: Option<Open>,
    members: BTreeMap<u32, Member>,
    /// The first that may not be signalled.
    pub(super) denied: Option<(u32, i32)>,
}

impl Descendants {
    /// Of a child that has not been reaped. `/proc` must be that of this PID
    /// namespace.
    pub(super) fn new(root: Pid, target: Target) -> io::Result<Descendants> {
        let own = fs::read_link("/proc/self")?;
        if own.to_str().and_then(|own| own.parse().ok()) != Some(getpid()) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let start = Stat::of(root)?.map(|stat| stat.start);
        let hidden = match start {
            Some(_) => None,
            None => Some(Open::hidden(root, target)?),
        };
        let start = start.unwrap_or(0);
        let first = Member { start, is_ours: true, refused: false };
        let members = BTreeMap::from([(root.get(), first)]);
        Ok(Descendants { root, hidden, members, denied: None })
    }

    /// Stops them all, until a look at all processes finds no other one. A
    /// stopped process starts none and reaps none, so that after this the ids
    /// are theirs.
    pub(super) fn stop(&mut self, deadline: Instant) -> io::Result<()> {
        self.signal_each(libc::SIGSTOP);
        let mut looks = 0;
        loop {
            let stopped = self.are_stopped();
            let found = self.find()?;
            if found == 0 && (stopped || looks == LOOKS) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Ok(());
            }
            if found == 0 {
                looks += 1;
                thread::sleep(PAUSE);
            }
        }
    }

    /// Whether none can start a process. Those that were reaped are forgotten:
    /// another descendant may get the number.
    fn are_stopped(&mut self) -> bool {
        let mut stopped = self.hidden.is_none();
        let root = self.root.get();
        self.members.retain(|pid, member| {
            let stat = Pid::new((*pid).into()).map(Stat::of);
            match stat {
                Some(Ok(Some(stat))) if stat.start == member.start => {
                    stopped &= stat.is_stopped();
                    true
                }
                Some(Err(_)) => {
                    stopped = false;
                    true
                }
                _ => *pid == root,
            }
        });
        stopped
    }

    fn pids(&self) -> impl Iterator<Item = (Pid, Member)> + '_ {
        let pid = |pid: &u32| Pid::new((*pid).into());
        self.members.iter().filter_map(move |(id, m)| Some((pid(id)?, *m)))
    }

    /// Looks at all processes, and stops those that belong to it. Returns how
    /// many there were.
    fn find(&mut self) -> io::Result<usize> {
        let mut others = Vec::new();
        let before = self.members.len();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            // Never the init, and never this process.
            let pid =
                pid.filter(|pid| *pid > 1 && *pid != i64::from(getpid()));
            let Some(pid) = pid.and_then(Pid::new) else { continue };
            if self.members.contains_key(&pid.get()) {
                continue;
            }
            // Stopped at once, so that it competes no longer.
            match Stat::of(pid)? {
                Some(stat) if self.belongs(&stat) => self.add(pid)?,
                Some(stat) => others.push((pid, stat)),
                None => {}
            }
        }
        loop {
            let known = self.members.len();
            let mut rest = Vec::new();
            for (pid, stat) in others {
                match self.belongs(&stat) {
                    true => self.add(pid)?,
                    false => rest.push((pid, stat)),
                }
            }
            if self.members.len() == known {
                return Ok(known - before);
            }
            others = rest;
        }
    }

    /// Whether its parent, or the leader of its group or session, is a member,
    /// by their numbers.
    fn belongs(&self, stat: &Stat) -> bool {
        let links = [stat.parent, stat.group, stat.session];
        links.iter().any(|link| self.members.contains_key(link))
    }

    /// Whether one of these members still has its number.
    fn belongs_still(&self, stat: &Stat) -> io::Result<bool> {
        for link in [stat.parent, stat.group, stat.session] {
            let Some(member) = self.members.get(&link) else { continue };
            let Some(pid) = Pid::new(link.into()) else { continue };
            if let (Some(root), true) = (&self.hidden, pid == self.root) {
                if root.is_unreaped() {
                    return Ok(true);
                }
                continue;
            }
            let now = Stat::of(pid)?;
            if now.is_some_and(|now| now.start == member.start) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a process if it is what it was taken for, and stops it.
    fn add(&mut self, pid: Pid) -> io::Result<()> {
        let Some(process) = Open::new(pid) else { return Ok(()) };
        let Some(stat) = Stat::of(pid)? else { return Ok(()) };
        if !process.is_unreaped() || !self.belongs_still(&stat)? {
            return Ok(());
        }
        let is_ours = stat.parent == getpid();
        let member = Member { start: stat.start, is_ours, refused: false };
        self.members.insert(pid.get(), member);
        self.signal(&process, libc::SIGSTOP);
        Ok(())
    }

    fn signal(&mut self, process: &Open, signal: i32) {
        match send_signal(process.target(), signal) {
            Ok(()) | Err(Errno(libc::ESRCH)) => {}
            Err(Errno(errno)) => {
                let denied = (process.pid.get(), errno);
                self.denied = self.denied.or(Some(denied));
                if let Some(member) = self.members.get_mut(&denied.0) {
                    member.refused = true;
                }
            }
        }
    }

    fn signal_each(&mut self, signal: i32) {
        let all: Vec<(Pid, Member)> = self.pids().collect();
        // The child is the last: until then it is what the others descend from.
        let (root, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(pid, _)| *pid == self.root);
        for (pid, member) in others.into_iter().chain(root) {
            if let Some(process) = Open::member(pid, member) {
                self.signal(&process, signal);
            }
        }
        if let Some(root) = self.hidden.take() {
            self.signal(&root, signal);
            self.hidden = Some(root);
        }
    }

    /// Kills them all.
    pub(super) fn kill(&mut self) {
        self.signal_each(libc::SIGKILL);
    }

    /// Waits until all but the child itself have ended, and reaps those whose
    /// parent this process has become. Returns whether all have.
    pub(super) fn wait(&self, deadline: Instant) -> bool {
        let others = self.pids().filter(|(pid, _)| *pid != self.root);
        let mut all = true;
        for (pid, member) in others.filter(|(_, member)| !member.refused) {
            all &=
                Open::member(pid, member).is_none_or(|it| it.ends(deadline));
        }
        all
    }

    /// Reaps those whose parent this process has become, as a subreaper or an
    /// init, now that all have ended.
    pub(super) fn reap(&self) {
        let others = self.pids().filter(|(pid, _)| *pid != self.root);
        for (pid, member) in others.filter(|(_, member)| !member.is_ours) {
            let Some(process) = Open::member(pid, member) else { continue };
            let Ok(Some(stat)) = Stat::of(pid) else { continue };
            let is_parent = stat.parent == getpid();
            if let (Some(pidfd), true) = (&process.pidfd, is_parent) {
                let _ = wait_by_pidfd_only(pidfd.as_raw_fd(), false);
            }
        }
    }
}

/// A process, open for one signal.
struct Open {
    pid: Pid,
    /// `None` if there are no pidfds, or no descriptor is free.
    pidfd: Option<PidFd>,
}

impl Open {
    /// `None`: there is no such process.
    fn new(pid: Pid) -> Option<Open> {
        match PidFd::open(pid.get()) {
            Ok(pidfd) => Some(Open { pid, pidfd: Some(pidfd) }),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => None,
            Err(_) => Some(Open { pid, pidfd: None }),
        }
    }

    /// A child that `/proc` does not show, if it has not been reaped.
    fn hidden(pid: Pid, target: Target) -> io::Result<Open> {
        let pidfd = PidFd::open(pid.get());
        // Opened before, so that it is about the child.
        if !is_unreaped(target) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let hides = |_| io::Error::from_raw_os_error(libc::EACCES);
        Ok(Open { pid, pidfd: Some(pidfd.map_err(hides)?) })
    }

    /// The process that was found, if it has not been reaped.
    fn member(pid: Pid, member: Member) -> Option<Open> {
        let process = Open::new(pid)?;
        let same = match Stat::of(pid) {
            Ok(stat) => stat.is_some_and(|stat| stat.start == member.start),
            // No descriptor is free. It is stopped, and its parent too.
            Err(_) => true,
        };
        (same && process.is_unreaped()).then_some(process)
    }

    fn target(&self) -> Target {
        let pidfd = self.pidfd.as_ref().map(AsRawFd::as_raw_fd);
        Target::new(self.pid, pidfd)
    }

    /// What was read of its number before this call was about it.
    fn is_unreaped(&self) -> bool {
        send_signal(self.target(), 0) != Err(Errno(libc::ESRCH))
    }

    /// Waits until it has ended; false: it has not by then.
    fn ends(&self, deadline: Instant) -> bool {
        loop {
            let ended = match Stat::of(self.pid) {
                Ok(None) => true,
                Ok(Some(stat)) => {
                    matches!(stat.state, b'Z' | b'X') && stat.threads <= 1
                }
                Err(_) => false,
            };
            if ended || !self.is_unreaped() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let Some(pidfd) = &self.pidfd else {
                thread::sleep(PAUSE);
                continue;
            };
            let left = left.min(Duration::from_millis(10));
            let left =
                Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            let fd = PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN);
            // EINTR: looked at again.
            let _ = poll(&mut [fd], Some(&left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_name_with_any_bytes_does_not_confuse_the_fields() {
        let name = b"7 (a) S 1 1 1 (\n\xFF) ".as_slice();
        let rest = b"T 5 6 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 3 0 99 8 9\n";
        let stat = Stat::parse(&[name, rest].concat()).unwrap();
        let want = Stat {
            state: b'T',
            parent: 5,
            group: 6,
            session: 7,
            threads: 3,
            start: 99,
        };
        assert_eq!(stat, want);
        assert!(stat.is_stopped());
        assert_eq!(Stat::parse(b"7 (cat"), None);
        assert_eq!(Stat::parse(b"7 (cat) R 1"), None);
    }

    #[test]
    fn a_zombie_with_threads_is_not_stopped() {
        let stat = |state, threads| Stat {
            state,
            parent: 1,
            group: 1,
            session: 1,
            threads,
            start: 1,
        };
        assert!(stat(b'Z', 1).is_stopped());
        assert!(!stat(b'Z', 2).is_stopped());
        assert!(!stat(b'S', 1).is_stopped());
    }
}
