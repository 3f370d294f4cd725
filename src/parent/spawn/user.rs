//! User: whether a user may execute a file, by its mode. Used after a failure.

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use super::interpreter::{DEPTH, View, interpreter};
use crate::parent::std::{
    fs::File, os::unix::fs::MetadataExt, path::PathBuf, vec::Vec,
};

/// A user with its groups.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

impl User {
    /// This process's own ids.
    pub(crate) fn own() -> User {
        let groups = getgroups().unwrap_or_default();
        User {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
        }
    }

    /// Whether this user may execute a file. Does not read access control
    /// lists.
    fn may_execute(&self, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else { return true };
        let noexec = fstatvfs(file)
            .is_ok_and(|at| at.f_flag.contains(StatVfsMountFlags::NOEXEC));
        let group = metadata.gid();
        let bits = match () {
            () if self.uid == 0 => 0o111,
            () if self.uid == metadata.uid() => 0o100,
            () if self.gid == group || self.groups.contains(&group) => 0o010,
            () => 0o001,
        };
        metadata.is_file() && !noexec && metadata.mode() & bits != 0
    }
}

/// Returns the interpreter that the user may not execute, of a program that it
/// may: exec fails with EACCES in both cases.
pub(crate) fn denied_interpreter(
    program: File,
    view: &View,
    user: &User,
) -> Option<PathBuf> {
    let mut file = program;
    for _ in 0..DEPTH {
        if !user.may_execute(&file) {
            return None;
        }
        let found = interpreter(&file)?;
        match view.file(&found) {
            Ok(next) if user.may_execute(&next) => file = next,
            Ok(_) | Err(Errno::ACCESS) => return Some(found),
            Err(_) => return None,
        }
    }
    None
}
