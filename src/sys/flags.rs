//! Clone flags, as 64-bit numbers.
//!
//! Those of libc 0.2 are C ints on gnu targets, where `CLONE_CLEAR_SIGHAND` and
//! `CLONE_INTO_CGROUP` are 0.

use core::fmt;

use super::CloneCall;

bitflags::bitflags! {
    /// The flags of [`clone3(2)`], as [`Launch::flags`] reports them.
    ///
    /// [`clone3(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
    /// [`Launch::flags`]: crate::Launch::flags
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct CloneFlags: u64 {
        /// The child shares the caller's memory until exec.
        const VM = 0x100;
        /// The two share one descriptor table until one unshares it.
        const FILES = 0x400;
        /// The kernel creates a pidfd for the child (Linux 5.2).
        const PIDFD = 0x1000;
        /// The caller is suspended until the child has exec'd or died.
        const VFORK = 0x4000;
        /// The child's parent is the caller's parent.
        const PARENT = 0x8000;
        /// The kernel clears a word once the child no longer uses the caller's
        /// memory.
        const CHILD_CLEARTID = 0x20_0000;
        /// A new mount namespace.
        const NEWNS = 0x2_0000;
        /// A new cgroup namespace (Linux 4.6).
        const NEWCGROUP = 0x200_0000;
        /// A new UTS namespace.
        const NEWUTS = 0x400_0000;
        /// A new IPC namespace.
        const NEWIPC = 0x800_0000;
        /// A new user namespace (Linux 3.8).
        const NEWUSER = 0x1000_0000;
        /// A new PID namespace.
        const NEWPID = 0x2000_0000;
        /// A new network namespace.
        const NEWNET = 0x4000_0000;
        /// Handled signals get the default action (Linux 5.5).
        const CLEAR_SIGHAND = 0x1_0000_0000;
        /// The child is created in a given control group (Linux 5.7).
        const INTO_CGROUP = 0x2_0000_0000;
        /// The kernel reaps the child (Linux 7.1).
        const AUTOREAP = 0x4_0000_0000;
        /// The child has `no_new_privs` (Linux 7.1).
        const NNP = 0x8_0000_0000;
        /// The kernel kills the child when its pidfd is closed (Linux 7.1).
        const PIDFD_AUTOKILL = 0x10_0000_0000;
    }
}

impl CloneFlags {
    /// The flags of the suspended engine. Shared memory requires a suspended
    /// caller, and a child without signal handlers.
    pub(crate) const SUSPENDED: CloneFlags = CloneFlags::VM
        .union(CloneFlags::VFORK)
        .union(CloneFlags::PIDFD)
        .union(CloneFlags::CLEAR_SIGHAND);

    /// The flags of the concurrent engine, whose caller runs on until the
    /// word is cleared.
    pub(crate) const CONCURRENT: CloneFlags = CloneFlags::VM
        .union(CloneFlags::PIDFD)
        .union(CloneFlags::CHILD_CLEARTID)
        .union(CloneFlags::CLEAR_SIGHAND);

    /// The flags of the copied engine.
    pub(crate) const COPIED: CloneFlags =
        CloneFlags::PIDFD.union(CloneFlags::CLEAR_SIGHAND);

    /// The namespaces that a child is created in.
    pub(crate) const NAMESPACES: CloneFlags = CloneFlags::NEWNS
        .union(CloneFlags::NEWUTS)
        .union(CloneFlags::NEWIPC)
        .union(CloneFlags::NEWUSER)
        .union(CloneFlags::NEWPID)
        .union(CloneFlags::NEWNET);

    /// Returns those of these flags that the call supports.
    pub(crate) fn within(self, clone_call: CloneCall) -> CloneFlags {
        match clone_call {
            CloneCall::Clone3 => self,
            CloneCall::Clone => self.difference(CloneFlags::CLONE3),
        }
    }

    /// The flags that only clone3 has: they are above 32 bits.
    const CLONE3: CloneFlags =
        CloneFlags::from_bits_retain(u64::MAX << u32::BITS);
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
