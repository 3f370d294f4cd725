//! Landlock rows: a ruleset confines the child, and a probe verifies it.

use super::lower::Lowering;
use super::step::Effect;
use super::{Plan, fixed_strings};
use crate::call::{Check, ROW, local, slot};
use crate::sys::bits;

impl Plan {
    /// Whether a ruleset confines the child.
    pub(crate) fn is_confined(&self) -> bool {
        self.step_names().any(|name| name == "landlock")
    }
}

impl Lowering<'_> {
    /// `landlock_restrict_self`. No call returns whether a process is
    /// confined: if the rules deny to list the root directory, the child must
    /// not be able to open it. An error of any other cause proves nothing and
    /// is none here.
    pub(super) fn landlock(&mut self, fd: u16, flags: u32) {
        let ruleset = u64::from(self.plan.child_fd(fd));
        let args = [ruleset, flags.into()];
        self.call(libc::SYS_landlock_restrict_self, &args);
        let moved = |effect| matches!(effect, Effect::Root(_));
        let same_root = !self.plan.effects().any(moved);
        let hooked = !self.plan.hooks.is_empty();
        if !self.plan.hides_root || !same_root || hooked {
            return;
        }
        let here = bits(libc::AT_FDCWD.into());
        let root = fixed_strings::ROOT.start.into();
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let args = [here, root, bits(flags.into())];
        let open = self.call(libc::SYS_openat, &args);
        open.texts = 0b10;
        open.check = Check::May;
        open.store = slot::SCRATCH_FD;
        open.skip = 2 * ROW;
        let fd = u64::from(slot::SCRATCH_FD);
        self.call(libc::SYS_close, &[fd]).slots = 0b1;
        let confined = self.push(local::VALUE, &[0]);
        confined.check = Check::Equal;
        confined.want = 1;
    }
}
