//! `terminate_tree`: a child and its descendants are asked to end, and killed
//! after a time.

use core::mem;
use core::time::Duration;

use super::descendants::Descendants;
use super::kill_group::{is_emptied, signal_all};
use super::waitable::{Waitable, deadline_after};
use super::{Child, Process, TreeKill};
use crate::parent::error::Error;
use crate::parent::std::time::Instant;

/// Asks a process to end, and continues it if it is stopped.
const SIGNALS: [i32; 2] = [libc::SIGTERM, libc::SIGCONT];

impl Child {
    /// Asks the child and all processes that descend from it to end (SIGTERM,
    /// and SIGCONT for those that are stopped), waits for `grace`, and then
    /// kills what is left as [`Child::kill_tree`] does, whose answer it
    /// returns. [`Child::wait`] then returns the status.
    ///
    /// With [`Command::own_cgroup`] each process of the control group is
    /// asked. Without it, those are asked that `kill_tree` finds in `/proc`;
    /// they are stopped (SIGSTOP) until all are found. The time is over early
    /// once all that were asked have ended. What they start meanwhile is killed
    /// as far as `kill_tree` finds it.
    ///
    /// If the child has ended before, it is [`Child::kill_tree`]; so it is with
    /// [`Command::autoreap`], except that the child is asked.
    ///
    /// # Errors
    ///
    /// As [`Child::kill_tree`], after the time. A process that may not be
    /// asked to end is no other error.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    ///
    /// let mut sh = offshoot::Command::new("sh");
    /// let mut sh = sh.args(["-c", "(sleep 60) & (sleep 60) & wait"]).spawn()?;
    /// sh.terminate_tree(Duration::from_secs(10))?;
    /// assert_eq!(sh.wait()?.signal(), Some(15));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Command::autoreap`]: crate::Command::autoreap
    /// [`Command::own_cgroup`]: crate::Command::own_cgroup
    pub fn terminate_tree(
        &mut self,
        grace: Duration,
    ) -> Result<TreeKill, Error> {
        mem::drop(self.stdin.take());
        let group = self.launch.process_group;
        self.handle.get().terminate_tree(group, grace)
    }
}

impl Process {
    /// Asks the child and its descendants to end, and kills what is left after
    /// a time.
    ///
    /// # Errors
    ///
    /// As [`Child::terminate_tree`].
    pub fn terminate_tree(&self, grace: Duration) -> Result<TreeKill, Error> {
        self.handle.terminate_tree(self.group, grace)
    }
}

impl Waitable {
    fn terminate_tree(
        &self,
        group: Option<i32>,
        grace: Duration,
    ) -> Result<TreeKill, Error> {
        let until = deadline_after(grace);
        if let Some(own) = &self.group {
            // Errors: `kill_tree` finds them too.
            for signal in SIGNALS {
                let _ = signal_all(own, signal);
            }
            let _ = is_emptied(own, until);
            return self.kill_tree(group, None);
        }
        let found = self.descendants(until);
        if found.is_none() && self.known_end().is_none() {
            for signal in SIGNALS {
                let _ = self.signal(signal);
            }
        }
        self.wait_unreaped(until);
        if let Some(all) = &found {
            all.wait(until);
        }
        self.kill_tree(group, found)
    }

    /// Asks all that can be found to end, and returns them: once a process has
    /// ended, nothing tells what it has started. They are stopped first, so
    /// that none is started meanwhile that is not found.
    fn descendants(&self, until: Instant) -> Option<Descendants> {
        // Then its number may be another process's.
        if self.autoreaped || self.has_ended() {
            return None;
        }
        let mut all = Descendants::new(self.pid, self.target()).ok()?;
        // An error: those that were found.
        let _ = all.stop(until);
        for signal in SIGNALS {
            all.signal_each(signal);
        }
        Some(all)
    }

    /// Waits until it has ended, and leaves it to be reaped: its number stays,
    /// by which what belongs to it is found.
    fn wait_unreaped(&self, until: Instant) {
        while !self.has_ended() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.pause(left);
        }
    }
}
