//! Who the child is: user, group, supplementary groups
//! ([`credentials(7)`]).
//!
//! [`credentials(7)`]: https://man7.org/linux/man-pages/man7/credentials.7.html

use crate::parent::command::Command;
use crate::parent::command::groups::Groups;

impl Command {
    /// The child's user: real, effective and saved id, set and read back.
    ///
    /// Supplementary groups are given up as well, unless
    /// [`Command::groups`] says what becomes of them; a parent that may not
    /// do that keeps them only if the user stays the same.
    ///
    /// The child has memory of its own then: in shared memory a change of
    /// user would make the *parent* undumpable for the rest of its life.
    ///
    /// # Errors
    ///
    /// [`Step::Uid`] for 4294967295, which the kernel takes for "no change";
    /// [`Step::Setgroups`] and [`Step::Setresuid`] with EPERM, without
    /// CAP_SETGID and CAP_SETUID. EAGAIN of [`Step::Exec`]: the user has as
    /// many processes as RLIMIT_NPROC allows ([`setresuid(2)`]).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// Command::new("server").uid(65534).gid(65534).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::Uid`]: crate::Step::Uid
    /// [`Step::Setgroups`]: crate::Step::Setgroups
    /// [`Step::Setresuid`]: crate::Step::Setresuid
    /// [`Step::Exec`]: crate::Step::Exec
    /// [`setresuid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.options.uid = Some(id);
        self
    }

    /// The child's group: real, effective and saved id, set and read back.
    /// Supplementary groups and memory are as with [`Command::uid`].
    ///
    /// # Errors
    ///
    /// [`Step::Gid`](crate::Step::Gid) for 4294967295;
    /// [`Step::Setgroups`](crate::Step::Setgroups) and
    /// [`Step::Setresgid`](crate::Step::Setresgid) with EPERM, without
    /// CAP_SETGID ([`setresgid(2)`]).
    ///
    /// [`setresgid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// let output = Command::new("id").gid(65534).output()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.options.gid = Some(id);
        self
    }

    /// The child's supplementary groups: a list, [`Groups::clear`] or
    /// [`Groups::keep`].
    ///
    /// The child gives up its groups first and then takes those of the list,
    /// and asks after each call how many it has: where a filter makes one of
    /// them a call without effect, the count is another. The kernel keeps a
    /// group that is listed twice, and sorts them by what their ids are
    /// outside every user namespace.
    ///
    /// # Errors
    ///
    /// [`Step::Groups`](crate::Step::Groups) for 4294967295 in the list or
    /// over 65,536 groups; [`Step::Setgroups`](crate::Step::Setgroups) with
    /// EPERM, without CAP_SETGID or in a user namespace that denies it
    /// ([`setgroups(2)`]).
    ///
    /// [`setgroups(2)`]: https://man7.org/linux/man-pages/man2/getgroups.2.html
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// Command::new("server").uid(1000).gid(1000).groups([27, 1000]).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn groups(&mut self, groups: impl Into<Groups>) -> &mut Command {
        self.options.groups = groups.into();
        self
    }
}
