//! User: who may execute a file, as its mode says. Asked after a failure.

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
    /// Whoever this process is.
    pub(crate) fn own() -> User {
        let groups = getgroups().unwrap_or_default();
        User {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
        }
    }

    /// Whether this user may execute a file. Access lists are not looked at.
    fn may_run(&self, file: &File) -> bool {
        let Ok(about) = file.metadata() else { return true };
        let barred = fstatvfs(file)
            .is_ok_and(|at| at.f_flag.contains(StatVfsMountFlags::NOEXEC));
        let group = about.gid();
        let bits = match () {
            () if self.uid == 0 => 0o111,
            () if self.uid == about.uid() => 0o100,
            () if self.gid == group || self.groups.contains(&group) => 0o010,
            () => 0o001,
        };
        about.is_file() && !barred && about.mode() & bits != 0
    }
}

/// The interpreter of a program that its user may execute, where that is what
/// may not be executed: exec gives EACCES for both.
pub(crate) fn shut_interpreter(
    program: File,
    view: &View,
    user: &User,
) -> Option<PathBuf> {
    let mut file = program;
    for _ in 0..DEPTH {
        if !user.may_run(&file) {
            return None;
        }
        let found = interpreter(&file)?;
        match view.file(&found) {
            Ok(next) if user.may_run(&next) => file = next,
            Ok(_) | Err(Errno::ACCESS) => return Some(found),
            Err(_) => return None,
        }
    }
    None
}
