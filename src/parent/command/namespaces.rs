//! `Namespaces`: the kernel's namespaces that a child gets anew, and how ids of
//! a new user namespace are mapped.

use crate::parent::std::{fmt, string::String, vec::Vec};

bitflags::bitflags! {
    /// Namespaces that the child gets anew ([`namespaces(7)`]), for
    /// [`Command::namespaces`].
    ///
    /// [`namespaces(7)`]: https://man7.org/linux/man-pages/man7/namespaces.7.html
    /// [`Command::namespaces`]: crate::Command::namespaces
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Namespaces: u32 {
        /// Mounts ([`mount_namespaces(7)`]).
        ///
        /// [`mount_namespaces(7)`]: https://man7.org/linux/man-pages/man7/mount_namespaces.7.html
        const MOUNT = 0x0002_0000;
        /// The root of the control groups that the child sees: its own group
        /// ([`cgroup_namespaces(7)`], Linux 4.6).
        ///
        /// [`cgroup_namespaces(7)`]: https://man7.org/linux/man-pages/man7/cgroup_namespaces.7.html
        const CGROUP = 0x0200_0000;
        /// Host name and domain name ([`uts_namespaces(7)`]).
        ///
        /// [`uts_namespaces(7)`]: https://man7.org/linux/man-pages/man7/uts_namespaces.7.html
        const UTS = 0x0400_0000;
        /// System V IPC and POSIX message queues ([`ipc_namespaces(7)`]).
        ///
        /// [`ipc_namespaces(7)`]: https://man7.org/linux/man-pages/man7/ipc_namespaces.7.html
        const IPC = 0x0800_0000;
        /// User and group ids and capabilities ([`user_namespaces(7)`], Linux
        /// 3.8).
        ///
        /// [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
        const USER = 0x1000_0000;
        /// Process ids ([`pid_namespaces(7)`]): the child has id 1 there, which
        /// ignores signals without a handler, and the namespace ends with it.
        ///
        /// [`pid_namespaces(7)`]: https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
        const PID = 0x2000_0000;
        /// Network devices, addresses and ports ([`network_namespaces(7)`]):
        /// at first there is a loopback device, which is down.
        ///
        /// [`network_namespaces(7)`]: https://man7.org/linux/man-pages/man7/network_namespaces.7.html
        const NET = 0x4000_0000;
    }
}

/// One line of an id map: so many ids of a user namespace, from `inside` on, are
/// those from `outside` on ([`user_namespaces(7)`]).
///
/// # Examples
///
/// ```
/// let root = offshoot::IdMap::new(0, 1000, 1);
/// assert_eq!((root.inside(), root.outside(), root.count()), (0, 1000, 1));
/// ```
///
/// [`user_namespaces(7)`]: https://man7.org/linux/man-pages/man7/user_namespaces.7.html
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdMap {
    inside: u32,
    outside: u32,
    count: u32,
}

impl IdMap {
    /// Creates a line, in the order that the kernel's files have.
    #[must_use]
    pub fn new(inside: u32, outside: u32, count: u32) -> IdMap {
        IdMap { inside, outside, count }
    }

    /// Returns the first id in the new namespace.
    #[must_use]
    pub fn inside(self) -> u32 {
        self.inside
    }

    /// Returns the first id in the parent's namespace.
    #[must_use]
    pub fn outside(self) -> u32 {
        self.outside
    }

    /// Returns how many ids follow each other.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }
}

/// As a line of the kernel's files.
impl fmt::Debug for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IdMap { inside, outside, count } = *self;
        write!(f, "{inside} {outside} {count}")
    }
}

/// The mounts of a new mount namespace, towards that of the parent, for
/// [`Command::mount_propagation`](crate::Command::mount_propagation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Propagation {
    /// None reaches the other (`MS_PRIVATE`), as `unshare(1)` has it.
    #[default]
    Private,
    /// Those of the parent reach the child (`MS_SLAVE`).
    Slave,
    /// Each reaches the other (`MS_SHARED`).
    Shared,
    /// As each mount has it. Where systemd made `/` shared, mounts of the child
    /// reach the parent.
    Unchanged,
}

#[derive(Clone, Default)]
pub(crate) struct NamespaceOptions {
    pub(crate) new: Namespaces,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid_map: Vec<IdMap>,
    pub(crate) gid_map: Vec<IdMap>,
    /// The caller's own ids are those in the namespace.
    pub(crate) own_ids: Option<OwnIds>,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
}

/// What the caller's own ids are in a new user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnIds {
    Root,
    Same,
}

pub(crate) const NO_PRIVILEGE: &str =
    "new namespaces take CAP_SYS_ADMIN, or a new user namespace with them";
pub(crate) const LIMIT: &str = "a limit of /proc/sys/user is reached, or the \
                                namespaces are nested too deep";
