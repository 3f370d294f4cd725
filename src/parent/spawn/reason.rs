//! Reason: what an error number means at its step, and which option it was
//! made for.

use super::prepared::Prepared;
use crate::parent::error::Cause;
use crate::parent::plan::op::Op;
use crate::parent::std::ffi::OsStr;
use crate::sys::abi::Limit;
use crate::sys::call::limit;

const UID_CLEARS: &str = "uid gives up all groups, which takes CAP_SETGID";
const GID_CLEARS: &str = "gid gives up all groups, which takes CAP_SETGID";
const MAY_NOT: &str =
    "groups takes CAP_SETGID, and a user namespace that allows setgroups";
const NO_GROUPS: &str =
    "one of the groups has no mapping in this user namespace";
const NO_GID: &str = "that gid has no mapping in this user namespace";
const NO_UID: &str = "that uid has no mapping in this user namespace";
const FULL: &str = "that user has as many processes as RLIMIT_NPROC allows";
const NO_GROUP: &str = "no process group of this session has that id";

/// Why a step failed, in the words of the option that it is there for.
pub(super) fn reason(op: Op, errno: i32) -> Cause {
    let why = match (op, errno) {
        (Op::ClearGroups { uid: Some(_), .. }, libc::EPERM) => UID_CLEARS,
        (Op::ClearGroups { .. }, libc::EPERM) => GID_CLEARS,
        (Op::Setgroups { .. }, libc::EPERM) => MAY_NOT,
        (Op::Setgroups { .. }, libc::EINVAL) => NO_GROUPS,
        (Op::Setgid(_), libc::EPERM) => "gid takes CAP_SETGID",
        (Op::Setgid(_), libc::EINVAL) => NO_GID,
        (Op::Setuid(_), libc::EPERM) => "uid takes CAP_SETUID",
        (Op::Setuid(_), libc::EINVAL) => NO_UID,
        (Op::Setuid(_), libc::EAGAIN) => FULL,
        (Op::Chroot(_), libc::EPERM) => "chroot takes CAP_SYS_CHROOT",
        (Op::Setpgid(_), libc::EPERM) => NO_GROUP,
        (Op::Dup { to, .. }, libc::EBADF) => match too_high(to) {
            Some(why) => why,
            None => return Cause::Os(errno),
        },
        _ => return Cause::Os(errno),
    };
    Cause::Explained(errno, why)
}

/// Why a descriptor that is open was not brought to its number: the limit
/// was looked at when the plan was prepared.
fn too_high(to: u32) -> Option<&'static str> {
    let limit = limit(Limit::Descriptors).ok()?;
    let why = "that number is not below RLIMIT_NOFILE any more";
    (u64::from(to) >= limit).then_some(why)
}

/// Why exec failed, where no file is the reason.
pub(super) fn exec_reason(errno: i32, no_execveat: bool) -> Cause {
    let why = match errno {
        libc::ENOEXEC if no_execveat => {
            "the kernel knows no such format; shell_fallback has /bin/sh run \
             it"
        }
        libc::ENOEXEC => "the kernel knows no such format",
        libc::EAGAIN => FULL,
        _ => return Cause::Os(errno),
    };
    Cause::Explained(errno, why)
}

impl Prepared {
    /// The root that the child has at a step, if that is not ours.
    pub(super) fn root_at(&self, step: u16) -> Option<&OsStr> {
        let before = self.plan.ops.iter().take(usize::from(step));
        let mut root = before.filter_map(|op| match *op {
            Op::Chroot(dir) => Some(self.plan.strings.get(dir)),
            _ => None,
        });
        root.next_back()
    }
}
