//! Death signal: whether exec clears the parent death signal of a child.
//!
//! The kernel clears it where exec changes credentials in a way that gives
//! something: other effective or file system ids, more permitted capabilities,
//! or a real id that is another than the effective one (`AT_SECURE`).

use crate::parent::error::{Error, Step};
use crate::sys::call::{capabilities, fs_ids, group_ids, user_ids};
use crate::sys::safe::prctl_get;

/// `SECBIT_NOROOT`.
const NOROOT: u64 = 1;

/// What the options set of that which decides.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeathSignalCheck {
    pub(crate) uid: Option<[u32; 3]>,
    pub(crate) gid: Option<[u32; 3]>,
    /// Before exec.
    pub(crate) permitted: Option<u64>,
    pub(crate) inheritable: Option<u64>,
    pub(crate) bounding: Option<u64>,
    pub(crate) securebits: Option<u32>,
}

const CLEARED: &str = "exec clears the signal, as the program has other ids \
                       or more capabilities than the child";

impl DeathSignalCheck {
    /// Refuses a signal that would be cleared; `process`: that of
    /// `die_with_parent`.
    pub(crate) fn refuse_cleared(&self, process: bool) -> Result<(), Error> {
        let Some(option) = self.cleared_by() else { return Ok(()) };
        let step = match process {
            true => Step::DieWithParent,
            false => Step::ParentDeathSignal,
        };
        Err(Error::refused(step, CLEARED).with(option))
    }

    /// What makes exec clear the signal in a child of this thread: an option, or
    /// the call that the caller has made. What exec adds by the program's file
    /// is not known.
    fn cleared_by(&self) -> Option<&'static str> {
        let uid = self.uid.unwrap_or_else(user_ids);
        let gid = self.gid.unwrap_or_else(group_ids);
        let [fs_uid, fs_gid] = fs_ids();
        if uid[0] != uid[1] {
            return Some("resuid");
        }
        if gid[0] != gid[1] {
            return Some("resgid");
        }
        if self.uid.is_none() && fs_uid != uid[1] {
            return Some("setfsuid");
        }
        if self.gid.is_none() && fs_gid != gid[1] {
            return Some("setfsgid");
        }
        let root = uid[1] == 0 && !self.is_noroot();
        (root && self.exec_adds()).then_some(match self.permitted {
            Some(_) => "permitted_capabilities",
            None => "capset",
        })
    }

    fn is_noroot(&self) -> bool {
        let own = || prctl_get(libc::PR_GET_SECUREBITS, 0).unwrap_or_default();
        self.securebits.map_or_else(own, u64::from) & NOROOT != 0
    }

    /// Whether a program of root's has a capability that the child has not.
    fn exec_adds(&self) -> bool {
        const LOW: u64 = 0xFFFF_FFFF;
        let words = capabilities();
        let permitted = words[0] >> 32 | words[2] << 32;
        let inheritable = words[1] & LOW | words[2] & !LOW;
        let permitted = self.permitted.unwrap_or(permitted);
        let inheritable = self.inheritable.unwrap_or(inheritable);
        let has = |n: &u64| prctl_get(libc::PR_CAPBSET_READ, *n) == Ok(1);
        let own = (0..64).filter(has).fold(0, |all, n| all | 1 << n);
        let bounding = self.bounding.unwrap_or(u64::MAX) & own;
        (bounding | inheritable) & !permitted != 0
    }
}
