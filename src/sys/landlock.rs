//! Landlock: the system calls that make a ruleset, and their structures.
#![allow(unsafe_code, reason = "each function makes one raw system call")]

use core::mem::{offset_of, size_of};

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::arch::syscall;
use super::{Errno, bits};

/// `struct landlock_ruleset_attr` as of ABI 6. An older kernel accepts the
/// size if the fields that it does not know are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RulesetAttr {
    pub(crate) handled_access_fs: u64,
    pub(crate) handled_access_net: u64,
    pub(crate) scoped: u64,
}

const _: () = assert!(size_of::<RulesetAttr>() == 24);
const _: () = assert!(offset_of!(RulesetAttr, scoped) == 16);

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

const _: () = assert!(size_of::<PathBeneath>() == 12);
const _: () = assert!(offset_of!(PathBeneath, parent_fd) == 8);

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed_access: u64,
    port: u64,
}

const _: () = assert!(size_of::<NetPort>() == 16);

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u64 = 1;

/// `enum landlock_rule_type`.
const PATH_BENEATH: u64 = 1;
const NET_PORT: u64 = 2;

/// Returns the version of the kernel's Landlock, 1 or more. ENOSYS: before
/// Linux 5.13, or not built in; EOPNOTSUPP: not enabled at boot.
pub(crate) fn abi() -> Result<u32, Errno> {
    let args = [0, 0, VERSION, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: NULL and numbers; the call accesses no
    // memory.
    let abi = unsafe { syscall(libc::SYS_landlock_create_ruleset, args) };
    match (Errno::of(abi), u32::try_from(abi)) {
        (Some(errno), _) => Err(errno),
        (None, Ok(abi @ 1..)) => Ok(abi),
        // A filter made the call without effect.
        (None, _) => Err(Errno(libc::ENOSYS)),
    }
}

/// Makes a ruleset, on a descriptor that exec closes.
pub(crate) fn create_ruleset(attr: &RulesetAttr) -> Result<OwnedFd, Errno> {
    let at = core::ptr::from_ref(attr).expose_provenance() as u64;
    let args = [at, size_of::<RulesetAttr>() as u64, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call reads the structure, which is
    // borrowed for it, by its size.
    let fd = unsafe { syscall(libc::SYS_landlock_create_ruleset, args) };
    match (Errno::of(fd), i32::try_from(fd)) {
        (Some(errno), _) => Err(errno),
        (None, Ok(fd @ 1..)) => {
            // SAFETY: the kernel has just made the descriptor, which has no
            // other owner.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        // A filter made the call without effect: 0 is its result, and the
        // number of another file.
        (None, _) => Err(Errno(libc::ENOSYS)),
    }
}

/// Permits accesses to a file, or below a directory.
pub(crate) fn allow_path(
    ruleset: BorrowedFd<'_>,
    path: BorrowedFd<'_>,
    allowed_access: u64,
) -> Result<(), Errno> {
    let rule = PathBeneath { allowed_access, parent_fd: path.as_raw_fd() };
    let at = (&raw const rule).expose_provenance() as u64;
    add_rule(ruleset, PATH_BENEATH, at)
}

/// Permits accesses to a TCP port.
pub(crate) fn allow_port(
    ruleset: BorrowedFd<'_>,
    port: u16,
    allowed_access: u64,
) -> Result<(), Errno> {
    let rule = NetPort { allowed_access, port: port.into() };
    let at = (&raw const rule).expose_provenance() as u64;
    add_rule(ruleset, NET_PORT, at)
}

/// The rule at `at` is one of that kind and lives to the end of the caller.
fn add_rule(ruleset: BorrowedFd<'_>, kind: u64, at: u64) -> Result<(), Errno> {
    let fd = bits(ruleset.as_raw_fd().into());
    // SAFETY: clause 1 of `syscall`: both callers pass the address of a live
    // structure of the size that its kind has.
    let done = unsafe {
        syscall(libc::SYS_landlock_add_rule, [fd, kind, at, 0, 0, 0])
    };
    Errno::of(done).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::{Errno, RulesetAttr, abi, create_ruleset};

    /// A kernel without Landlock has one of these errors.
    #[test]
    fn the_version_of_landlock_is_at_least_one() {
        match abi() {
            Ok(abi) => assert!(abi >= 1),
            Err(Errno(errno)) => {
                let known = [libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM];
                assert!(known.contains(&errno), "{errno}");
            }
        }
    }

    #[test]
    fn a_ruleset_that_handles_nothing_is_an_error() {
        let result = create_ruleset(&RulesetAttr::default());
        assert!(result.is_err(), "ENOMSG, or no Landlock");
    }
}
