//! Killing a control group: all its processes, and those of the groups below
//! it.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::pidfd::PidFd;
use super::stat::Stat;
use super::subreaper::child_subreaper;
use super::waitable::Waitable;
use super::waitable::late;
use crate::parent::command::OpenCgroup;
use crate::parent::error::{Error, Step};
use crate::parent::std::os::fd::AsRawFd;
use crate::parent::std::string::ToString;
use crate::parent::std::time::Instant;
use crate::parent::std::vec::Vec;
use crate::parent::std::{format, fs, thread};
use crate::sys::Pid;
use crate::sys::call::getpgid;
use crate::sys::safe::getpid;
use crate::sys::wait::{is_unreaped, wait_by_pidfd_only};

/// How long a child that may not be signalled has to end with its group.
const ENDS: Duration = Duration::from_secs(1);

/// How long one look at `cgroup.events` is trusted.
const LOOK: Duration = Duration::from_millis(10);

impl Waitable {
    /// Kills the group that was made for the child, reaps the child, and
    /// removes the group.
    pub(super) fn kill_own_group(
        &self,
        group: &OpenCgroup,
        deadline: Instant,
    ) -> Result<(), Error> {
        let fail = |e: Errno| {
            Error::os(Step::Kill, e.raw_os_error()).with(group.name())
        };
        if !group.is_removed() {
            match group.write("cgroup.kill", "1") {
                Ok(()) => {}
                // Before Linux 5.14.
                Err(Errno::NOENT) => {
                    if let Err(e) = kill_each(group, deadline) {
                        self.kill_itself();
                        return Err(fail(e));
                    }
                }
                Err(e) => {
                    self.kill_itself();
                    return Err(fail(e));
                }
            }
        }
        // It may have moved to another group, if it has the right to; or it is
        // another user's, and has ended with the group.
        let signalled = self.signal(libc::SIGKILL);
        if !group.is_removed() && !is_emptied(group, deadline).map_err(fail)? {
            return Err(late().with(group.name()));
        }
        match signalled {
            Ok(()) => self.wait_killed(deadline)?,
            Err(error) => {
                let until = deadline.min(Instant::now() + ENDS);
                if self.wait_deadline(until)?.is_none() {
                    return Err(error.with(self.pid.get().to_string()));
                }
            }
        }
        if let Some(name) = group.made_name() {
            reap_adopted(name, self.pid.get(), deadline);
        }
        group.remove();
        Ok(())
    }

    /// Kills the child and the group that it leads: its control group cannot
    /// be killed, for want of a descriptor (EMFILE), say.
    fn kill_itself(&self) {
        let id = self.pid.get();
        let leads = getpgid(id) == i64::from(id);
        let is_own = getpgid(0) == i64::from(id);
        if leads && !is_own && is_unreaped(self.target()) {
            let _ = self.signal_group(libc::SIGKILL);
        }
        let _ = self.signal(libc::SIGKILL);
    }
}

/// Waits until no process is left; false: there still is one.
pub(super) fn is_emptied(
    group: &OpenCgroup,
    deadline: Instant,
) -> Result<bool, Errno> {
    let events = match group.file("cgroup.events", OFlags::RDONLY) {
        // Another thread has reaped the child, and removed the group.
        Err(Errno::NOENT | Errno::NODEV) => return Ok(true),
        events => events?,
    };
    loop {
        match group.is_populated() {
            Ok(false) | Err(Errno::NOENT | Errno::NODEV) => return Ok(true),
            Ok(true) => {}
            Err(e) => return Err(e),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = left.min(LOOK).subsec_nanos().into();
        let left = Timespec { tv_sec: 0, tv_nsec: left };
        // A change is a PRI and an error at once; a signal ends it too.
        let mut fds = [PollFd::new(&events, PollFlags::PRI)];
        let _ = poll(&mut fds, Some(&left));
    }
}

/// Freezes the group, so that nothing is started in it, and kills its
/// processes one by one.
pub(super) fn kill_each(
    group: &OpenCgroup,
    deadline: Instant,
) -> Result<(), Errno> {
    // Linux 5.2; without it they race with what they start.
    let frozen = group.write("cgroup.freeze", "1").is_ok();
    let killed = loop {
        let seen = signal_all(group, libc::SIGKILL);
        let left = group.is_populated();
        if seen.is_err() || left != Ok(true) || Instant::now() >= deadline {
            break seen;
        }
    };
    if frozen {
        let _ = group.write("cgroup.freeze", "0");
    }
    match killed {
        Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        killed => killed,
    }
}

/// Sends a signal to all processes that are in it now, or in groups below it.
pub(super) fn signal_all(
    group: &OpenCgroup,
    signal: i32,
) -> Result<(), Errno> {
    signal_members(group, signal)?;
    for below in group.below()? {
        match signal_members(&below, signal) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            // A threaded group: its processes are those of a group above.
            Err(Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn signal_members(group: &OpenCgroup, signal: i32) -> Result<(), Errno> {
    for line in group.text("cgroup.procs")?.lines() {
        // 0: a process of another PID namespace.
        let Ok(pid @ 2..) = line.parse::<u32>() else { continue };
        if pid == getpid() {
            continue;
        }
        let Ok(process) = PidFd::open(pid) else { continue };
        // Opened before this is read, so that it is about this process.
        let now = group.text("cgroup.procs")?;
        if now.lines().any(|now| now == line) {
            let _ = process.signal(signal);
        }
    }
    Ok(())
}

/// Reaps the processes of the group whose parent this process has become, as
/// a subreaper or an init. A zombie is still said to be in its group.
fn reap_adopted(name: &str, child: u32, deadline: Instant) {
    let adopts = getpid() == 1 || child_subreaper();
    while adopts && !reap_once(name, child) && Instant::now() < deadline {
        // A process leaves its group a moment before it can be reaped.
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns whether none is left that this process may have to reap.
fn reap_once(name: &str, child: u32) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return true };
    let mut members = Vec::new();
    for entry in entries.flatten() {
        let id = entry.file_name();
        let id = id.to_str().and_then(|id| id.parse::<u32>().ok());
        let Some(id) = id.filter(|id| *id != child) else { continue };
        let Ok(process) = PidFd::open(id) else { continue };
        let group = fs::read_to_string(format!("/proc/{id}/cgroup"));
        let group = group.unwrap_or_default();
        let group = group.lines().find_map(|line| line.strip_prefix("0::"));
        let group = group.unwrap_or_default();
        // The wait for the child has removed it.
        let group = group.strip_suffix(" (deleted)").unwrap_or(group);
        let mut parts = group.split('/');
        if parts.any(|part| part == name) {
            members.push((id, process));
        }
    }
    let ids: Vec<u32> = members.iter().map(|(id, _)| *id).collect();
    let mut all = true;
    for (id, process) in members {
        match wait_by_pidfd_only(process.as_raw_fd(), false) {
            Ok(Some(_)) => {}
            Ok(None) => all = false,
            // Its parent is another process, which may be about to end.
            Err(_) => {
                let stat = Pid::new(id.into()).map(Stat::of);
                if let Some(Ok(Some(stat))) = stat {
                    all &= stat.state == b'Z' && !ids.contains(&stat.parent);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{is_emptied, kill_each};
    use crate::parent::command::Cgroup;
    use crate::parent::std::os::unix::process::ExitStatusExt;
    use crate::parent::std::time::Instant;
    use crate::{Command, TreeKill};
    use core::time::Duration;

    /// What kernels before 5.14 need.
    #[test]
    fn a_group_without_cgroup_kill_is_frozen_and_killed() {
        let above = Cgroup::current().and_then(|own| own.make());
        // An ordinary user may not make one.
        let Ok(above) = above else { return };
        let script = "setsid sh -c 'sleep 1000 & sleep 1000 &'; sleep 1000";
        let mut sh = Command::new("sh");
        let sh = sh.args(["-c", script]).own_cgroup(above.name());
        let mut sh = sh.spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        kill_each(&above, limit).unwrap();
        assert_eq!(is_emptied(&above, limit), Ok(true));
        assert_eq!(sh.wait().unwrap().signal(), Some(9));
        assert_eq!(sh.kill_tree().unwrap(), TreeKill::Complete);
        assert!(above.remove());
    }
}
