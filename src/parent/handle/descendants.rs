//! `Descendants`: the processes that a child has started, as `/proc` shows
//! them.
//!
//! A process is told from a later one with the same id by the time at which it
//! started. Each is signalled by a pidfd that was opened before `/proc` was
//! read, so that what was read is about the process that gets the signal.
//!
//! There may be more processes than descriptors. The pidfds of the first stay
//! open: with `hidepid`, a process can hide itself after it was found (an exec
//! of a set-user-ID program, `PR_SET_DUMPABLE`).

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::pidfd::PidFd;
use super::stat::Stat;
use crate::parent::std::collections::BTreeMap;
use crate::parent::std::os::fd::{AsFd, AsRawFd};
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;
use crate::parent::std::{fs, io, thread};
use crate::sys::kill::send_signal;
use crate::sys::pidfd::is_readable;
use crate::sys::safe::getpid;
use crate::sys::wait::{Target, is_unreaped, wait_by_pidfd_only};
use crate::sys::{Errno, Pid};

/// How often all are looked at again while some have not stopped: one that
/// waits in the kernel (for a child of vfork, say), or that is frozen, does not.
const LOOKS: u32 = 50;

/// How many pidfds stay open.
const MOST_KEPT: usize = 64;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

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
    /// Members, by their numbers, whose pidfds are open.
    kept: BTreeMap<u32, Open>,
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
        // What was read is about the child, and not about a later process.
        if !is_unreaped(target) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let start = start.unwrap_or(0);
        let first = Member { start, is_ours: true, refused: false };
        let members = BTreeMap::from([(root.get(), first)]);
        let kept = BTreeMap::new();
        Ok(Descendants { root, hidden, members, kept, denied: None })
    }

    /// Stops them all, until a look at all processes finds no other one. A
    /// stopped process starts none and reaps none, so that after this the ids
    /// are theirs.
    pub(super) fn stop(&mut self, deadline: Instant) -> io::Result<()> {
        self.signal_each(libc::SIGSTOP);
        let mut looks = 0;
        loop {
            let stopped = self.are_stopped();
            let found = match self.find() {
                Err(_) if !self.kept.is_empty() => {
                    // Their descriptors may be those that it takes.
                    self.kept.clear();
                    self.find()?
                }
                found => found?,
            };
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

    /// Leaves the child out, which was reaped.
    pub(super) fn forget_root(&mut self) {
        self.members.remove(&self.root.get());
        self.hidden = None;
    }

    /// Whether none can start a process. Those that were reaped are forgotten:
    /// another descendant may get the number.
    fn are_stopped(&mut self) -> bool {
        let mut stopped = self.hidden.is_none();
        let (root, kept) = (self.root.get(), &self.kept);
        self.members.retain(|pid, member| {
            let id = Pid::new((*pid).into());
            let stat = id.map(Stat::of);
            match stat {
                Some(Ok(Some(stat))) if stat.start == member.start => {
                    let own = id.map(|id| stat.is_stopped(id));
                    stopped &= own.is_some_and(|own| matches!(own, Ok(true)));
                    true
                }
                Some(Err(_)) => {
                    stopped = false;
                    true
                }
                // It has hidden itself, and may run.
                _ if kept.get(pid).is_some_and(Open::is_unreaped) => {
                    stopped = false;
                    true
                }
                _ => *pid == root,
            }
        });
        let members = &self.members;
        self.kept.retain(|pid, _| members.contains_key(pid));
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
            let kept = self.kept.get(&link);
            if now.is_some_and(|now| now.start == member.start)
                || kept.is_some_and(Open::is_unreaped)
            {
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
        if process.pidfd.is_some() && self.kept.len() < MOST_KEPT {
            self.kept.insert(pid.get(), process);
        }
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

    /// Sends a signal to them all.
    pub(super) fn signal_each(&mut self, signal: i32) {
        let all: Vec<(Pid, Member)> = self.pids().collect();
        // The child is the last: until then it is what the others descend from.
        let (root, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(pid, _)| *pid == self.root);
        for (pid, member) in others.into_iter().chain(root) {
            if let Some(process) = self.kept.remove(&pid.get()) {
                self.signal(&process, signal);
                self.kept.insert(pid.get(), process);
            } else if let Some(process) = Open::member(pid, member) {
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
            all &= match self.kept.get(&pid.get()) {
                Some(kept) => kept.ends(deadline),
                None => Open::member(pid, member)
                    .is_none_or(|it| it.ends(deadline)),
            };
        }
        all
    }

    /// Reaps those whose parent this process has become, as a subreaper or an
    /// init, now that all have ended.
    pub(super) fn reap(&self) {
        let others = self.pids().filter(|(pid, _)| *pid != self.root);
        for (pid, member) in others.filter(|(_, member)| !member.is_ours) {
            if let Some(kept) = self.kept.get(&pid.get()) {
                // ECHILD: its parent is another process.
                let pidfd = kept.pidfd.as_ref().map(AsRawFd::as_raw_fd);
                let _ = pidfd.map(|fd| wait_by_pidfd_only(fd, false));
                continue;
            }
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
                // There is none, or it is hidden.
                Ok(None) => match &self.pidfd {
                    Some(pidfd) => is_readable(pidfd.as_raw_fd()),
                    None => true,
                },
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
