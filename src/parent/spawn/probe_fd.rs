//! Canary: a descriptor of the parent's that must be gone from the child's
//! table, as the proof that the table is the child's own.

use rustix::event::{EventfdFlags, eventfd};

use super::attempt::Attempt;
use super::prepared::Prepared;
use super::status_page::StatusPage;
use super::stdio_pipes::LaunchFds;
use crate::parent::plan::op::Op;
use crate::parent::reserve::{ReservedFd, above, dup_above, here};
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::sys::{CloneCall, CloneFlags};

impl Attempt {
    /// The pidfd serves as the canary only where it is made after and above
    /// everything the child needs, in a table that is shared; `moved` if
    /// something has a number of our choice.
    pub(super) fn prove_if_needed(
        &mut self,
        prepared: &Prepared,
        launch_fds: &LaunchFds,
        moved: bool,
    ) {
        let source_end = launch_fds.source_end;
        self.source_end = source_end;
        self.kept = None;
        let page = launch_fds.page.as_ref();
        let moved = moved || page.is_some_and(StatusPage::is_used);
        let needed = prepared.plan.has(Op::CloseRange);
        let high = |fd: &OwnedFd| fd.as_raw_fd() >= source_end;
        let have = self.probe_fd.as_ref().is_some_and(high);
        let needed =
            needed && !self.strategy.no_close_range && !have && !self.bare;
        let shares = self.flags.contains(CloneFlags::FILES);
        let by_pidfd = shares && self.strategy.clone_call == CloneCall::Clone3;
        let by_pidfd = by_pidfd && self.pidfd && !moved;
        if needed {
            self.kept = page.and_then(|page| page.probe_fd(source_end));
            self.kept =
                self.kept.or_else(|| prepared.cached_probe_fd(source_end));
        }
        if needed && !by_pidfd && self.kept.is_none() {
            self.kept =
                above().filter(|fd| *fd >= source_end).and_then(|_| here());
        }
        // Without a pidfd there is nothing that a shared table lacks.
        if !self.pidfd && self.kept.is_none() {
            self.flags -= CloneFlags::FILES;
            return;
        }
        if !needed || self.kept.is_some() {
            return;
        }
        // An earlier one may be too low for this shape.
        self.probe_fd = None;
        if !by_pidfd {
            self.prove();
        }
    }

    /// Makes a canary. Where there is no number left above the cut, the
    /// child gets a copy of the table, and there is nothing to prove.
    fn prove(&mut self) {
        match probe_fd(self.source_end) {
            Ok(made) => self.probe_fd = Some(made),
            Err(_) => self.flags -= CloneFlags::FILES,
        }
    }
}

impl Prepared {
    /// The canary made beforehand, if it is above what this spawn needs.
    fn cached_probe_fd(&self, source_end: i32) -> Option<i32> {
        let foreign = self.is_foreign();
        let kept = self.probe_fd.as_ref();
        let kept = kept.filter(|low| !foreign || low.is_here());
        let kept = kept.and_then(ReservedFd::fd).map(|fd| fd.as_raw_fd());
        kept.filter(|fd| *fd >= source_end)
    }
}

/// A descriptor that nobody needs, at `cut` or above.
fn probe_fd(source_end: i32) -> rustix::io::Result<OwnedFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
    if fd.as_raw_fd() >= source_end {
        Ok(fd)
    } else {
        dup_above(fd, source_end)
    }
}
