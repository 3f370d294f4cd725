//! User: the ids of a child by name, or real, effective and saved ones apart.

use crate::parent::command::{Command, Groups, GroupsSetting, Ids, Options};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt,
    vec,
    vec::Vec,
};
use crate::sys::Errno;
use crate::sys::users::{self, UserIds};

impl Command {
    /// Sets the user by its name: its user id, its primary group, and its
    /// supplementary groups, of which the primary group is one. They are looked
    /// up in this process when the plan is compiled ([`getpwnam(3)`],
    /// [`getgrouplist(3)`]). [`Command::gid`] and [`Command::groups`] take
    /// precedence over what is found.
    ///
    /// HOME, USER, LOGNAME and SHELL stay as they are.
    ///
    /// libc may load name services (LDAP, systemd) for it, which allocate,
    /// take locks and open files; a static program may have none.
    ///
    /// # Errors
    ///
    /// [`Step::User`], if there is no such user, with the errno of the name
    /// service, and naming the option with [`Command::uid`] or
    /// [`Command::resuid`]. From the child as [`Command::uid`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // As `su nobody -s /usr/bin/id`.
    /// let output = offshoot::Command::new("id").user("nobody").output()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`getpwnam(3)`]: https://man7.org/linux/man-pages/man3/getpwnam.3.html
    /// [`getgrouplist(3)`]: https://man7.org/linux/man-pages/man3/getgrouplist.3.html
    pub fn user<S: AsRef<OsStr>>(&mut self, name: S) -> &mut Command {
        self.options.identity.user = Some(name.as_ref().to_os_string());
        self
    }

    /// Sets the real, effective and saved user id apart, and reads them back
    /// ([`setresuid(2)`]). The effective id decides about permissions;
    /// capabilities are removed if the effective id changes from 0, and
    /// altogether if none of the three is 0. execve sets the saved id to the
    /// effective one.
    ///
    /// Supplementary groups and memory are treated as by [`Command::uid`].
    ///
    /// # Errors
    ///
    /// [`Step::Resuid`] for 4294967295, and naming `uid`, if that is set too;
    /// from the child as [`Command::uid`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// // What a set-user-ID program of user 33 has when user 1000 runs it.
    /// offshoot::Command::new("helper").resuid(1000, 33, 33).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setresuid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    pub fn resuid(
        &mut self,
        real: u32,
        effective: u32,
        saved: u32,
    ) -> &mut Command {
        self.options.identity.resuid = Some([real, effective, saved]);
        self
    }

    /// Sets the real, effective and saved group id apart, and reads them back
    /// ([`setresgid(2)`]). execve sets the saved id to the effective one.
    ///
    /// Supplementary groups and memory are treated as by [`Command::uid`].
    ///
    /// # Errors
    ///
    /// [`Step::Resgid`] for 4294967295, and naming `gid`, if that is set too;
    /// from the child as [`Command::gid`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// offshoot::Command::new("helper").resgid(1000, 5, 5).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`setresgid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    pub fn resgid(
        &mut self,
        real: u32,
        effective: u32,
        saved: u32,
    ) -> &mut Command {
        self.options.identity.resgid = Some([real, effective, saved]);
        self
    }
}

/// The ids and groups that the options mean together.
pub(crate) fn resolve(options: &Options) -> Result<Ids, Error> {
    let identity = &options.identity;
    let conflict = |step, other, option| {
        Err(Error::new(step, Cause::Conflict(other)).with(option))
    };
    if identity.resuid.is_some() && identity.uid.is_some() {
        return conflict(Step::Resuid, "uid", "resuid");
    }
    if identity.resgid.is_some() && identity.gid.is_some() {
        return conflict(Step::Resgid, "gid", "resgid");
    }
    let same = |id: Option<u32>, step| -> Result<_, Error> {
        id.map(|id| valid([id; 3], step)).transpose()
    };
    let apart = |ids: Option<[u32; 3]>, step| -> Result<_, Error> {
        ids.map(|ids| valid(ids, step)).transpose()
    };
    let uid = same(identity.uid, Step::Uid)?;
    let uid = uid.or(apart(identity.resuid, Step::Resuid)?);
    let gid = same(identity.gid, Step::Gid)?;
    let gid = gid.or(apart(identity.resgid, Step::Resgid)?);
    let groups = identity.groups.clone();
    let Some(name) = &identity.user else {
        return Ok(Ids { uid, gid, groups });
    };
    if uid.is_some() {
        let resuid = identity.resuid.is_some();
        let other = if resuid { "resuid" } else { "uid" };
        return conflict(Step::User, other, "user");
    }
    let (user, list) = look_up(name, groups.is_set())?;
    let groups = if groups.is_set() { groups } else { list };
    let uid = valid([user.uid; 3], Step::User)?;
    let own = valid([user.gid; 3], Step::User)?;
    Ok(Ids { uid: Some(uid), gid: gid.or(Some(own)), groups })
}

/// Validates ids: the kernel takes -1 for "no change".
fn valid(ids: [u32; 3], step: Step) -> Result<[u32; 3], Error> {
    if ids.contains(&u32::MAX) {
        let why = "the kernel takes 4294967295 (-1) for \"no change\"";
        return Err(Error::refused(step, why).with("4294967295"));
    }
    Ok(ids)
}

/// Looks up a user and its groups, which are left out if they are set.
fn look_up(
    name: &OsStr,
    groups_are_set: bool,
) -> Result<(UserIds, Groups), Error> {
    const LONGEST_ENTRY: usize = 1 << 20;
    const MOST_GROUPS: usize = 1 << 16;
    let refuse = |why| Err(Error::refused(Step::User, why).with(name));
    let Ok(text) = CString::new(name.as_bytes()) else {
        return refuse("a name cannot contain a NUL byte");
    };
    if text.is_empty() {
        return refuse("the name is empty");
    }
    let mut buffer = vec![0; 1024];
    let user = loop {
        match users::user(&text, &mut buffer) {
            Ok(Some(user)) => break user,
            Ok(None) => return refuse("there is no such user"),
            Err(Errno(libc::EINTR)) => {}
            Err(Errno(libc::ERANGE)) if buffer.len() < LONGEST_ENTRY => {
                buffer.resize(2 * buffer.len(), 0);
            }
            Err(errno) => {
                return Err(Error::os(Step::User, errno.0).with(name));
            }
        }
    };
    if groups_are_set {
        return Ok((user, Groups::default()));
    }
    let mut groups = Vec::from([u32::MAX; 32]);
    loop {
        let found = users::groups(&text, user.gid, &mut groups);
        let Some(count) = found else {
            return refuse("its groups cannot be looked up");
        };
        if count <= groups.len() {
            groups.truncate(count);
            return Ok((user, Groups(GroupsSetting::List(groups))));
        }
        if count > MOST_GROUPS {
            return refuse("the user has more than 65,536 groups");
        }
        // A service may not say how many there are.
        groups.resize(count.max(2 * groups.len()), u32::MAX);
    }
}
