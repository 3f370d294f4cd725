//! The clone flags, as 64-bit numbers.
//!
//! Our own: libc 0.2 keeps them in a C int on gnu targets, where
//! `CLONE_CLEAR_SIGHAND` and `CLONE_INTO_CGROUP` come out as 0.

use core::fmt;

use super::CloneCall;

bitflags::bitflags! {
    /// The flags of [`clone3(2)`], as [`Launch::flags`] reports them.
    ///
    /// [`clone3(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    /// [`Launch::flags`]: crate::Launch::flags
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct CloneFlags: u64 {
        /// The child runs in the caller's memory until exec.
        const VM = 0x100;
        /// Descriptors are one table until one side unshares it.
        const FILES = 0x400;
        /// The kernel makes a descriptor for the child (Linux 5.2).
        const PIDFD = 0x1000;
        /// The caller sleeps until the child has exec'd or died.
        const VFORK = 0x4000;
        /// Signal handlers become the default action (Linux 5.5).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// The child is born in the control group given (Linux 5.7).
        const INTO_CGROUP = 0x2_0000_0000;
    }
}

impl CloneFlags {
    /// Without these the engine suspended would not be one: shared memory
    /// wants a caller that sleeps, and no handler of its own.
    pub(crate) const SUSPENDED: CloneFlags = CloneFlags::VM
        .union(CloneFlags::VFORK)
        .union(CloneFlags::PIDFD)
        .union(CloneFlags::CLEAR_SIGHAND);

    /// The engine copied, which has memory of its own.
    pub(crate) const COPIED: CloneFlags =
        CloneFlags::PIDFD.union(CloneFlags::CLEAR_SIGHAND);

    /// These flags, as far as the call knows them.
    pub(crate) fn within(self, clone_call: CloneCall) -> CloneFlags {
        match clone_call {
            CloneCall::Clone3 => self,
            CloneCall::Clone => self.difference(CloneFlags::CLONE3),
        }
    }

    /// What only clone3 has: the legacy clone's flags end at 32 bits.
    const CLONE3: CloneFlags =
        CloneFlags::CLEAR_SIGHAND.union(CloneFlags::INTO_CGROUP);
}

impl fmt::Display for CloneFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bitflags::parser::to_writer(self, f)
    }
}

const _: () = assert!(
    CloneFlags::SUSPENDED.contains(CloneFlags::VM.union(CloneFlags::VFORK))
        && !CloneFlags::COPIED.contains(CloneFlags::VM)
);
