//! Probe descriptor: a descriptor of the parent's that must be absent from
//! the child's table after `close_range`, which shows that the child has a
//! table of its own.

use rustix::event::{EventfdFlags, eventfd};

use super::attempt::Attempt;
use super::prepared::Prepared;
use super::status_page::StatusPage;
use super::stdio_pipes::LaunchFds;
use crate::parent::plan::Op;
use crate::parent::reserve::{checked_top_fd, dup_above, top_fd};
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::sys::{CloneCall, CloneFlags};

impl Attempt {
    /// Selects the probe descriptor of this attempt, or makes one. The pidfd
    /// serves if the table is shared and the pidfd gets a number above all
    /// that the child needs: not if `moved`, where another descriptor has a
    /// number that was chosen.
    pub(super) fn select_probe_fd(
        &mut self,
        prepared: &Prepared,
        launch_fds: &LaunchFds,
        moved: bool,
    ) {
        let source_end = launch_fds.source_end;
        let page = launch_fds.page.as_ref();
        let moved = moved || page.is_some_and(StatusPage::is_reused);
        let high = |fd: &OwnedFd| fd.as_raw_fd() >= source_end;
        let needed = prepared.plan.has(Op::CloseRange)
            && !self.strategy.no_close_range
            && !self.no_probe_fd
            && !self.probe_fd.as_ref().is_some_and(high);
        let shares = self.flags.contains(CloneFlags::FILES);
        let by_pidfd = shares
            && self.strategy.clone_call == CloneCall::Clone3
            && self.with_pidfd
            && !moved;
        let reserved = || {
            let top = top_fd().filter(|fd| !by_pidfd && *fd >= source_end);
            top.and_then(|_| checked_top_fd())
        };
        let cached = || {
            page.and_then(|page| page.probe_fd(source_end))
                .or_else(|| prepared.probe_fd(source_end))
                .or_else(reserved)
        };
        self.cached_probe_fd = needed.then(cached).flatten();
        // Without a pidfd or a probe descriptor nothing shows whose table it
        // is.
        if !self.with_pidfd && self.cached_probe_fd.is_none() {
            self.flags -= CloneFlags::FILES;
            return;
        }
        if !needed || self.cached_probe_fd.is_some() {
            return;
        }
        self.probe_fd = None;
        if !by_pidfd {
            match new_probe_fd(source_end) {
                Ok(fd) => self.probe_fd = Some(fd),
                // The child gets a copy of the table, which needs no check.
                Err(_) => self.flags -= CloneFlags::FILES,
            }
        }
    }
}

/// An otherwise unused descriptor at `source_end` or above.
fn new_probe_fd(source_end: i32) -> rustix::io::Result<OwnedFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
    if fd.as_raw_fd() >= source_end {
        Ok(fd)
    } else {
        dup_above(fd, source_end)
    }
}
