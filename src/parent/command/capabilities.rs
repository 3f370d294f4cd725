//! `CapabilitySet` and `Securebits`: parts of what root may do.

use crate::parent::std::fmt;

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])* $name:ident = $bit:literal,)*) => {
        bitflags::bitflags! {
            /// A set of capabilities ([`capabilities(7)`]), with the kernel's
            /// names without `CAP_`.
            ///
            /// # Examples
            ///
            /// ```
            /// use offshoot::CapabilitySet;
            ///
            /// let set = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::KILL;
            /// assert_eq!(set.to_string(), "cap_kill,cap_net_bind_service");
            /// ```
            ///
            /// [`capabilities(7)`]: https://man7.org/linux/man-pages/man7/capabilities.7.html
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            pub struct CapabilitySet: u64 {
                $($(#[doc = $doc])* const $name = 1 << $bit;)*
            }
        }
    };
}

capabilities! {
    /// Change the owner of any file.
    CHOWN = 0,
    /// Pass over permissions of files.
    DAC_OVERRIDE = 1,
    /// Read any file and search any directory.
    DAC_READ_SEARCH = 2,
    /// What otherwise takes the owner of a file.
    FOWNER = 3,
    /// Keep set-user-ID and set-group-ID bits of a file that changes.
    FSETID = 4,
    /// Send signals to any process.
    KILL = 5,
    /// Change group ids and supplementary groups.
    SETGID = 6,
    /// Change user ids.
    SETUID = 7,
    /// Change the bounding set and securebits.
    SETPCAP = 8,
    /// Change the immutable and append-only attributes of files.
    LINUX_IMMUTABLE = 9,
    /// Bind ports below 1024.
    NET_BIND_SERVICE = 10,
    /// Send broadcasts (unused).
    NET_BROADCAST = 11,
    /// Configure the network.
    NET_ADMIN = 12,
    /// Raw and packet sockets.
    NET_RAW = 13,
    /// Lock memory.
    IPC_LOCK = 14,
    /// Pass over permissions of System V IPC.
    IPC_OWNER = 15,
    /// Load kernel modules.
    SYS_MODULE = 16,
    /// Access I/O ports and memory devices.
    SYS_RAWIO = 17,
    /// Change the root directory, and join mount namespaces.
    SYS_CHROOT = 18,
    /// Trace any process.
    SYS_PTRACE = 19,
    /// Configure process accounting.
    SYS_PACCT = 20,
    /// System administration: mounts, namespaces and much else.
    SYS_ADMIN = 21,
    /// Reboot the machine.
    SYS_BOOT = 22,
    /// Raise priorities, and set real-time policies and CPU affinities.
    SYS_NICE = 23,
    /// Exceed resource limits and quotas.
    SYS_RESOURCE = 24,
    /// Set the clock.
    SYS_TIME = 25,
    /// Configure terminals, and hang them up.
    SYS_TTY_CONFIG = 26,
    /// Make device files.
    MKNOD = 27,
    /// Lease any file.
    LEASE = 28,
    /// Write to the audit log.
    AUDIT_WRITE = 29,
    /// Configure the audit system.
    AUDIT_CONTROL = 30,
    /// Set capabilities of files.
    SETFCAP = 31,
    /// Pass over mandatory access control.
    MAC_OVERRIDE = 32,
    /// Configure mandatory access control.
    MAC_ADMIN = 33,
    /// Configure the kernel's log.
    SYSLOG = 34,
    /// Set timers that wake the machine.
    WAKE_ALARM = 35,
    /// Keep the machine awake.
    BLOCK_SUSPEND = 36,
    /// Read the audit log.
    AUDIT_READ = 37,
    /// Monitor performance (Linux 5.8).
    PERFMON = 38,
    /// Load BPF programs (Linux 5.8).
    BPF = 39,
    /// Choose process ids, and checkpoint (Linux 5.9).
    CHECKPOINT_RESTORE = 40,
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, _)) in self.iter_names().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}cap_{}", name.to_ascii_lowercase())?;
        }
        // Those without a name, by their number.
        let named = *self & CapabilitySet::all();
        let unknown = self.bits() & !CapabilitySet::all().bits();
        let mut comma = if named.is_empty() { "" } else { "," };
        for n in (0..64).filter(|n| unknown & 1 << n != 0) {
            write!(f, "{comma}cap_{n}")?;
            comma = ",";
        }
        Ok(())
    }
}

bitflags::bitflags! {
    /// How the kernel treats the user id 0 ([`capabilities(7)`], securebits).
    ///
    /// [`capabilities(7)`]: https://man7.org/linux/man-pages/man7/capabilities.7.html
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Securebits: u32 {
        /// execve as user 0 gives no capabilities.
        const NOROOT = 1 << 0;
        /// It cannot be changed any more.
        const NOROOT_LOCKED = 1 << 1;
        /// A change of user ids does not change capabilities.
        const NO_SETUID_FIXUP = 1 << 2;
        /// It cannot be changed any more.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted capabilities stay when all user ids become other than
        /// 0. execve clears it.
        const KEEP_CAPS = 1 << 4;
        /// It cannot be changed any more.
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// Ambient capabilities cannot be raised (Linux 4.3).
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// It cannot be changed any more.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
    }
}
