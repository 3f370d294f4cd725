//! Hook ids: the calls of a hook about ids and flags of the process.

use super::hook::HookContext;
use crate::sys::call::{group_ids, user_ids};
use crate::sys::{Errno, safe};

impl HookContext<'_> {
    /// Returns the parent's process id; 0 if the parent is in another PID
    /// namespace
    /// ([`getppid(2)`](https://man7.org/linux/man-pages/man2/getppid.2.html)).
    #[must_use]
    pub fn parent_id(&self) -> u32 {
        safe::getppid()
    }

    /// Returns the real and effective user id, and the real and effective
    /// group id
    /// ([`getresuid(2)`](https://man7.org/linux/man-pages/man2/getresuid.2.html)).
    #[must_use]
    pub fn ids(&self) -> [u32; 4] {
        let ([uid, effective_uid, _], [gid, effective_gid, _]) =
            (user_ids(), group_ids());
        [uid, effective_uid, gid, effective_gid]
    }

    /// Sets the real, effective and saved user id; 4294967295 for no change
    /// ([`setresuid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)).
    /// With [`Command::exec`](crate::Command::exec) it changes the calling
    /// thread only, which is the only one that execve leaves.
    ///
    /// # Errors
    ///
    /// EPERM without CAP_SETUID, and in a
    /// [`pre_exec_shared`](crate::Command::pre_exec_shared), where the change
    /// would make the parent undumpable permanently; EINVAL, EAGAIN.
    pub fn setresuid(
        &mut self,
        real: u32,
        effective: u32,
        saved: u32,
    ) -> Result<(), Errno> {
        self.private()?;
        safe::setresuid([real, effective, saved])
    }

    /// Sets the real, effective and saved group id, as
    /// [`HookContext::setresuid`] sets the user's. It comes before that.
    ///
    /// # Errors
    ///
    /// As [`HookContext::setresuid`], with CAP_SETGID.
    pub fn setresgid(
        &mut self,
        real: u32,
        effective: u32,
        saved: u32,
    ) -> Result<(), Errno> {
        self.private()?;
        safe::setresgid([real, effective, saved])
    }

    /// Sets the supplementary groups
    /// ([`setgroups(2)`](https://man7.org/linux/man-pages/man2/getgroups.2.html)).
    ///
    /// # Errors
    ///
    /// As [`HookContext::setresgid`].
    pub fn setgroups(&mut self, groups: &[u32]) -> Result<(), Errno> {
        self.private()?;
        safe::setgroups(groups)
    }

    /// Reads a flag or number by
    /// [`prctl(2)`](https://man7.org/linux/man-pages/man2/prctl.2.html):
    /// `PR_GET_DUMPABLE`, `PR_GET_NO_NEW_PRIVS`, `PR_GET_KEEPCAPS`,
    /// `PR_GET_SECUREBITS`, `PR_GET_TIMERSLACK`, and `PR_CAPBSET_READ` of the
    /// capability `number`.
    ///
    /// # Errors
    ///
    /// EINVAL for any other option.
    pub fn prctl_get(&self, option: i32, number: u64) -> Result<u64, Errno> {
        safe::prctl_get(option, number)
    }

    /// Credentials are never changed in shared memory.
    fn private(&self) -> Result<(), Errno> {
        match self.shared {
            true => Err(Errno(libc::EPERM)),
            false => Ok(()),
        }
    }
}
