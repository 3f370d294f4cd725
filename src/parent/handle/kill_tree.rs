//! `kill_tree`: a child, and all that descends from it, are killed.

use core::mem;
use core::time::Duration;

use super::descendants::Descendants;
use super::waitable::{Waitable, deadline_after, late};
use super::{Child, Process};
use crate::parent::error::{Error, Step};
use crate::parent::std::format;
use crate::parent::std::time::Instant;
use crate::sys::call::getpgid;
use crate::sys::wait::is_unreaped;

/// How sure it is that no descendant is left, from [`Child::kill_tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TreeKill {
    /// No process of the child's own control group is left.
    Complete,
    /// The child, its process group, and the descendants that `/proc` shows
    /// are killed. Others can be left: see [`Child::kill_tree`].
    BestEffort,
}

/// Processes that have not ended by then, or that go on starting others, are
/// not waited for any longer.
const LIMIT: Duration = Duration::from_secs(30);

impl Child {
    /// Kills the child and all processes that descend from it (SIGKILL), and
    /// reaps the child, whose status [`Child::wait`] then returns.
    ///
    /// With [`Command::own_cgroup`] it is the control group that is killed, as
    /// a whole (`cgroup.kill`, Linux 5.14; before, it is frozen, and its
    /// processes are killed one by one). When this returns, no process is left
    /// in it, and the group is removed: [`TreeKill::Complete`]. Nothing that
    /// the child has started is missed, unless it had the right to move to
    /// another group.
    ///
    /// Without it the descendants are found in `/proc`: those whose parent is
    /// the child or another descendant, and the members of a session or process
    /// group that one of them leads. They are stopped (SIGSTOP) as they are found,
    /// until a look at all processes finds no other one, and killed then, each
    /// by a pidfd, which never refers to another process. The result is
    /// [`TreeKill::BestEffort`]. Not found are:
    ///
    /// - a descendant whose parent has ended (a daemon that forks twice), if
    ///   it has left the sessions and groups of those that are found. It has
    ///   become a child of the init, or of the nearest subreaper
    ///   ([`set_child_subreaper`]), which may be this process but cannot tell
    ///   from whom it got it;
    /// - what the child has left behind, if it was waited for before: then
    ///   only the process group that it led is killed, since Linux 6.9;
    /// - a process that a descendant makes with `CLONE_PARENT` and that calls
    ///   setsid(2): its parent is this process;
    /// - what `/proc` does not show, if it is mounted with `hidepid`:
    ///   descendants that this process may not trace, and what only they have
    ///   started. One that hides itself after it was found is killed, if it is
    ///   one of the first 64. What the child itself has started is found even if the
    ///   child is hidden;
    /// - what another process starts for it (a service manager, `at`).
    ///
    /// Descendants that are zombies and whose parent this process becomes, as
    /// it is a subreaper or the init, are reaped. Members of the child's group
    /// or session that this process has spawned itself are killed, but not
    /// reaped.
    ///
    /// # Errors
    ///
    /// All processes that may be killed are killed before an error is
    /// returned. [`Step::Kill`], with the directory of the group if there is
    /// one:
    ///
    /// - with EPERM and the process id of one that belongs to another user (a
    ///   set-user-ID program);
    /// - with ENOENT, EMFILE or another errno, if `/proc` cannot be read, or
    ///   is that of another PID namespace: only the child and the group that
    ///   it leads are killed;
    /// - with ETIMEDOUT, if a process has not ended within thirty seconds;
    /// - naming `autoreap`, if the kernel reaps the child
    ///   ([`Command::autoreap`]) and it has no control group of its own: only
    ///   the child and the group that it leads are killed.
    ///
    /// [`Step::Wait`] as [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut sh = offshoot::Command::new("sh");
    /// let mut sh = sh.args(["-c", "(sleep 60) & (sleep 60) & wait"]).spawn()?;
    /// sh.kill_tree()?;
    /// assert_eq!(sh.wait()?.signal(), Some(9));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Command::autoreap`]: crate::Command::autoreap
    /// [`Command::own_cgroup`]: crate::Command::own_cgroup
    /// [`set_child_subreaper`]: crate::set_child_subreaper
    #[doc(alias = "killpg")]
    pub fn kill_tree(&mut self) -> Result<TreeKill, Error> {
        mem::drop(self.stdin.take());
        self.handle.get().kill_tree(self.launch.process_group, None)
    }
}

impl Process {
    /// Kills the child and all processes that descend from it.
    ///
    /// # Errors
    ///
    /// As [`Child::kill_tree`](crate::Child::kill_tree).
    pub fn kill_tree(&self) -> Result<TreeKill, Error> {
        self.handle.kill_tree(self.group, None)
    }
}

impl Waitable {
    /// `group` is the process group that the child was put in; `known` are
    /// descendants that were found before.
    pub(super) fn kill_tree(
        &self,
        group: Option<i32>,
        known: Option<Descendants>,
    ) -> Result<TreeKill, Error> {
        let deadline = deadline_after(LIMIT);
        if let Some(own) = &self.group {
            self.kill_own_group(own, deadline)?;
            return Ok(TreeKill::Complete);
        }
        self.kill_descendants(group, known, deadline)?;
        Ok(TreeKill::BestEffort)
    }

    fn kill_descendants(
        &self,
        group: Option<i32>,
        known: Option<Descendants>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.autoreaped {
            return self.kill_autoreaped(group, deadline);
        }
        let was_reaped =
            self.known_end().is_some() || !is_unreaped(self.target());
        let id = i32::try_from(self.pid.get()).ok();
        // This process may have entered the child's group.
        let is_own = i32::try_from(getpgid(0)).ok() == id;
        let leads = match was_reaped {
            true => group == id,
            false => i32::try_from(getpgid(self.pid.get())).ok() == id,
        };
        let leads = leads && !is_own;
        if was_reaped {
            if leads && self.pidfd.is_some() {
                // An error: Linux before 6.9, where the number of the group
                // may be another's.
                let _ = self.signal_group(libc::SIGKILL);
            }
            if let Some(mut all) = known {
                all.forget_root();
                let _ = all.stop(deadline);
                all.kill();
                all.wait(deadline);
                all.reap();
            }
            return self.wait_killed(deadline);
        }
        // The whole group at once: none of it can start another process.
        if leads {
            let _ = self.signal_group(libc::SIGSTOP);
        }
        let found = match known {
            Some(all) => Ok(all),
            None => Descendants::new(self.pid, self.target()),
        };
        let mut found = found.and_then(|mut all| {
            let stopped = all.stop(deadline);
            all.kill();
            stopped.map(|()| all)
        });
        if leads {
            let _ = self.signal_group(libc::SIGKILL);
        }
        self.kill_root()?;
        let ended = found.as_ref().is_ok_and(|all| all.wait(deadline));
        self.wait_killed(deadline)?;
        match &mut found {
            Ok(all) => all.reap(),
            // It has ended meanwhile, and another thread has reaped it.
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            Err(error) => {
                const WHY: &str = "/proc cannot be read, so only the child \
                                   and the group that it leads were killed";
                let errno = error.raw_os_error().unwrap_or(libc::ENOENT);
                return Err(Error::explained(Step::Kill, errno, WHY));
            }
        }
        match found.ok().and_then(|all| all.denied) {
            Some((pid, errno)) => {
                Err(Error::os(Step::Kill, errno).with(format!("{pid}")))
            }
            None if !ended => Err(late()),
            None => Ok(()),
        }
    }

    /// A child that the kernel reaps is killed with the group that it leads,
    /// both by its pidfd. Descendants are found by its process id, which can be
    /// another process's at any time.
    fn kill_autoreaped(
        &self,
        group: Option<i32>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let leads = group == i32::try_from(self.pid.get()).ok();
        let signalled = match leads {
            true => self.signal_group(libc::SIGKILL),
            false => Ok(()),
        };
        self.kill_root()?;
        self.wait_killed(deadline)?;
        signalled?;
        let why = "with autoreap the process id may be another process's, so \
                   only the child and the group that it leads were killed: \
                   see own_cgroup";
        Err(Error::refused(Step::Kill, why).with("autoreap"))
    }

    /// Kills the child itself.
    fn kill_root(&self) -> Result<(), Error> {
        let sent = self.signal(libc::SIGKILL);
        sent.map_err(|error| error.with(format!("{}", self.pid.get())))
    }

    pub(super) fn wait_killed(&self, deadline: Instant) -> Result<(), Error> {
        self.wait_deadline(deadline)?.map(drop).ok_or_else(late)
    }
}
