//! `PidFdInfo`: what the kernel tells of the process of a pidfd.

use super::ExitStatus;
use crate::parent::std::os::unix::process::ExitStatusExt;
use crate::sys::abi::PidfdInfo;

/// What the kernel tells of a process, from [`PidFd::info`]. A method returns
/// `None` for what this kernel does not tell, or not any more: once a process
/// has been reaped, only how it ended is left.
///
/// [`PidFd::info`]: crate::PidFd::info
#[derive(Clone, Copy, Debug)]
pub struct PidFdInfo(pub(super) PidfdInfo);

/// A kind of namespace, for [`PidFd::namespace`].
///
/// [`PidFd::namespace`]: crate::PidFd::namespace
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Namespace {
    /// Control groups.
    Cgroup = 1,
    /// System V IPC and POSIX message queues.
    Ipc = 2,
    /// Mounts.
    Mount = 3,
    /// Network devices, addresses and ports.
    Net = 4,
    /// Process ids.
    Pid = 5,
    /// The process ids of its future children.
    PidForChildren = 6,
    /// Boot and monotonic clocks.
    Time = 7,
    /// The clocks of its future children.
    TimeForChildren = 8,
    /// User and group ids.
    User = 9,
    /// Host name and domain name.
    Uts = 10,
}

/// The kernel fills these two in any case.
const PID: u64 = 1 << 0;
const IDS: u64 = 1 << 1;
const CGROUP: u64 = 1 << 2;
const COREDUMP: u64 = 1 << 4;
const SUPPORTED: u64 = 1 << 5;

/// What is asked for: the kernel ignores what it does not know.
pub(super) const ALL: u64 =
    PID | IDS | CGROUP | PidfdInfo::EXIT | COREDUMP | SUPPORTED;

impl PidFdInfo {
    fn has(&self, mask: u64) -> Option<&PidfdInfo> {
        (self.0.mask & mask != 0).then_some(&self.0)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.has(PID).map(|info| info.tgid).filter(|pid| *pid > 0)
    }

    /// The process id of its parent; `None` also if that is in another PID
    /// namespace.
    #[must_use]
    pub fn parent_pid(&self) -> Option<u32> {
        self.has(PID).map(|info| info.ppid).filter(|pid| *pid > 0)
    }

    /// The real, effective, saved and file system user id.
    #[must_use]
    pub fn user_ids(&self) -> Option<[u32; 4]> {
        let all = self.has(IDS)?.ids;
        Some([all[0], all[2], all[4], all[6]])
    }

    /// The real, effective, saved and file system group id.
    #[must_use]
    pub fn group_ids(&self) -> Option<[u32; 4]> {
        let all = self.has(IDS)?.ids;
        Some([all[1], all[3], all[5], all[7]])
    }

    /// The id of its control group: the inode of its directory.
    #[must_use]
    pub fn cgroup_id(&self) -> Option<u64> {
        self.has(CGROUP).map(|info| info.cgroupid)
    }

    /// The flags (`PIDFD_INFO_*`) that this kernel knows (Linux 6.19).
    #[must_use]
    pub fn supported_mask(&self) -> Option<u64> {
        self.has(SUPPORTED).map(|info| info.supported_mask)
    }

    /// How it ended, once it has been reaped (Linux 6.15).
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let info = self.has(PidfdInfo::EXIT)?;
        Some(ExitStatus::from_raw(info.exit_code))
    }

    /// Whether it has dumped core (Linux 6.16).
    #[must_use]
    pub fn core_dumped(&self) -> Option<bool> {
        const DUMPED: u32 = 1;
        self.has(COREDUMP).map(|info| info.coredump_mask & DUMPED != 0)
    }
}
