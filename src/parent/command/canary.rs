//! Canary: a descriptor of the parent's that must be gone from the child's
//! table, as the proof that the table is the child's own.

use rustix::event::{EventfdFlags, eventfd};

use super::attempt::Attempt;
use super::ends::Extra;
use super::page::Page;
use super::prepared::Prepared;
use crate::op::Op;
use crate::parent::reserve::{Low, above, here, lift};
use crate::parent::std::os::fd::{AsRawFd, OwnedFd};
use crate::sys::{CloneFlags, Maker};

impl Attempt {
    /// The pidfd serves as the canary only where it is made after and above
    /// everything the child needs, in a table that is shared; `moved` if
    /// something has a number of our choice.
    pub(super) fn prove_if_needed(
        &mut self,
        prepared: &Prepared,
        extra: &Extra,
        moved: bool,
    ) {
        let cut = extra.cut;
        self.cut = cut;
        self.kept = None;
        let page = extra.page.as_ref();
        let moved = moved || page.is_some_and(Page::is_used);
        let needed = prepared.plan.ops.contains(&Op::CloseRange);
        let high = |fd: &OwnedFd| fd.as_raw_fd() >= cut;
        let have = self.canary.as_ref().is_some_and(high);
        let needed = needed && !self.shape.listed && !have && !self.bare;
        let shares = self.flags.contains(CloneFlags::FILES);
        let by_pidfd = shares && self.shape.maker == Maker::Clone3;
        let by_pidfd = by_pidfd && self.pidfd && !moved;
        if needed {
            self.kept = page.and_then(|page| page.canary(cut));
            self.kept = self.kept.or_else(|| prepared.kept_canary(cut));
        }
        if needed && !by_pidfd && self.kept.is_none() {
            self.kept = above().filter(|fd| *fd >= cut).and_then(|_| here());
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
        self.canary = None;
        if !by_pidfd {
            self.prove();
        }
    }

    /// Makes a canary. Where there is no number left above the cut, the
    /// child gets a copy of the table, and there is nothing to prove.
    fn prove(&mut self) {
        match canary(self.cut) {
            Ok(made) => self.canary = Some(made),
            Err(_) => self.flags -= CloneFlags::FILES,
        }
    }
}

impl Prepared {
    /// The canary made beforehand, if it is above what this spawn needs.
    fn kept_canary(&self, cut: i32) -> Option<i32> {
        let foreign = self.is_foreign();
        let kept = self.canary.as_ref();
        let kept = kept.filter(|low| !foreign || low.is_here());
        let kept = kept.and_then(Low::fd).map(|fd| fd.as_raw_fd());
        kept.filter(|fd| *fd >= cut)
    }
}

/// A descriptor that nobody needs, at `cut` or above.
fn canary(cut: i32) -> rustix::io::Result<OwnedFd> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
    if fd.as_raw_fd() >= cut { Ok(fd) } else { lift(fd, cut) }
}
