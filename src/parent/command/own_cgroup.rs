//! Own cgroups: a control group that is made for one child, and removed with it.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, mkdirat, openat, unlinkat,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec, read, write};

use super::cgroup::{Cgroup, Directory, Made, OpenCgroup};
use crate::parent::error::{Error, Step};
use crate::parent::std::os::fd::{AsFd, AsRawFd, OwnedFd};
use crate::parent::std::path::{Path, PathBuf};
use crate::parent::std::string::{String, ToString};
use crate::parent::std::vec::Vec;
use crate::parent::std::{format, fs, thread};
use crate::sys::fork_detection::Owner;
use crate::sys::safe::getpid;

/// The number of the next group that this process makes.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The most names that are tried, and the deepest group that is removed.
const NAMES: u32 = 1000;
const DEEPEST: u32 = 64;

impl Cgroup {
    /// Returns the control group that the calling process is in: below it a
    /// service may make groups, if it is delegated to it (`Delegate=yes` of
    /// systemd). It is found by `/proc/self/cgroup` and
    /// `/proc/self/mountinfo`.
    ///
    /// # Errors
    ///
    /// [`Step::Cgroup`] with ENOENT, if no file system of version 2 is mounted
    /// that has it; with another errno, if `/proc` cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Cgroup, Command};
    ///
    /// let mut make = Command::new("make");
    /// if let Ok(group) = Cgroup::current() {
    ///     make.own_cgroup(group);
    /// }
    /// ```
    pub fn current() -> Result<Cgroup, Error> {
        let text = |file: &str| {
            let text = fs::read_to_string(file);
            text.map_err(|e| Error::io(Step::Cgroup, &e).with(file))
        };
        let own = text("/proc/self/cgroup")?;
        let path = find(&own, &text("/proc/self/mountinfo")?);
        path.map(Cgroup::from).ok_or_else(|| {
            let why = "no control groups of version 2 are mounted here";
            Error::explained(Step::Cgroup, libc::ENOENT, why)
        })
    }

    /// Makes a group below this one.
    pub(crate) fn make(&self) -> Result<OpenCgroup, Error> {
        let parent = self.open()?;
        let fail = |e: Errno| parent.make_error(e.raw_os_error());
        let mut tries = 0..NAMES;
        let name = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("offshoot-{}-{number}", getpid());
            let mode = Mode::from_raw_mode(0o755);
            match mkdirat(parent.fd(), &name, mode) {
                Ok(()) => break name,
                // Left behind by a process that had this id before.
                Err(Errno::EXIST) if tries.next().is_some() => {}
                Err(e) => return Err(fail(e)),
            }
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(parent.fd(), &name, flags, Mode::empty());
        // Above 2: it stays open as long as the child.
        let opened = opened.and_then(|fd| match fd.as_raw_fd() {
            0..=2 => fcntl_dupfd_cloexec(&fd, 3),
            _ => Ok(fd),
        });
        let opened = opened.map_err(|e| {
            let _ = unlinkat(parent.fd(), &name, AtFlags::REMOVEDIR);
            fail(e)
        })?;
        let path = parent.name().join(&name);
        let (removed, owner) = (AtomicBool::new(false), Owner::this());
        let made = Made { name, removed, owner };
        Ok(OpenCgroup::new(Directory::Own(opened), path, Some(made)))
    }
}

/// Finds the directory of the own group, by the texts of `/proc`.
fn find(own: &str, mounts: &str) -> Option<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        if !system.starts_with("cgroup2 ") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(own).strip_prefix(unescape(root)).ok()?;
        // Joining an empty path would append a slash.
        match below.as_os_str().is_empty() {
            true => Some(unescape(point).into()),
            false => Some(Path::new(&unescape(point)).join(below)),
        }
    })
}

/// mountinfo has spaces, tabs, newlines and backslashes in octal.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let code = part.get(..3).and_then(|n| u8::from_str_radix(n, 8).ok());
        match code {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// A group that was made for one child.
impl OpenCgroup {
    pub(crate) fn is_made(&self) -> bool {
        self.made.is_some()
    }

    /// Returns the name of the directory that was made, unique among those of
    /// this process.
    pub(crate) fn made_name(&self) -> Option<&str> {
        self.made.as_ref().map(|made| made.name.as_str())
    }

    pub(crate) fn is_removed(&self) -> bool {
        let made = self.made.as_ref();
        made.is_some_and(|made| made.removed.load(Ordering::Relaxed))
    }

    fn make_error(&self, errno: i32) -> Error {
        let why = match errno {
            libc::EAGAIN => {
                "cgroup.max.depth or cgroup.max.descendants permits no other \
                 group"
            }
            libc::EROFS => "control groups are mounted read-only",
            _ => return self.error(errno),
        };
        Error::explained(Step::Cgroup, errno, why).with(self.name())
    }

    /// Opens one of its files.
    pub(crate) fn file(
        &self,
        name: &str,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        openat(self.fd(), name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Errno> {
        let file = self.file(name, OFlags::WRONLY)?;
        write(&file, text.as_bytes()).map(drop)
    }

    pub(crate) fn text(&self, name: &str) -> Result<String, Errno> {
        let file = self.file(name, OFlags::RDONLY)?;
        let mut text = Vec::new();
        let mut part = [0; 4096];
        loop {
            match read(&file, &mut part) {
                Ok(0) => return Ok(String::from_utf8_lossy(&text).into()),
                Ok(n) => text.extend_from_slice(part.get(..n).unwrap_or(&[])),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether it, or a group below it, has a process that has not ended.
    pub(crate) fn is_populated(&self) -> Result<bool, Errno> {
        let events = self.text("cgroup.events")?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// Opens the groups below it, each before those below that.
    pub(crate) fn below(&self) -> Result<Vec<OpenCgroup>, Errno> {
        let mut all: Vec<OpenCgroup> = Vec::new();
        let mut next = 0;
        let mut names = groups_in(self.fd())?;
        let mut path = self.name().to_path_buf();
        let mut parent = self.fd().try_clone().map_err(|_| Errno::MFILE)?;
        loop {
            for name in names {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = openat(&parent, &name, flags, Mode::empty());
                // Another process may have removed it.
                let Ok(opened) = opened else { continue };
                let path = path.join(&name);
                let directory = Directory::Own(opened);
                all.push(OpenCgroup::new(directory, path, None));
            }
            let Some(group) = all.get(next) else { return Ok(all) };
            next += 1;
            names = groups_in(group.fd()).unwrap_or_default();
            path = group.name().to_path_buf();
            parent = group.fd().try_clone().map_err(|_| Errno::MFILE)?;
        }
    }

    /// Removes it and the groups below it, if it was made for a child and no
    /// process is left in any. Returns whether it is gone.
    pub(crate) fn remove(&self) -> bool {
        let Some(made) = &self.made else { return false };
        if made.removed.load(Ordering::Relaxed) {
            return true;
        }
        if made.owner.is_another() {
            return false;
        }
        // By the name that it has in the directory above it: a group cannot
        // be renamed.
        let path = format!("../{}", made.name);
        // The last process may be counted for a moment after it was reaped.
        for pause in [0, 1, 2] {
            thread::sleep(Duration::from_millis(pause));
            let mut gone = unlinkat(self.fd(), &path, AtFlags::REMOVEDIR);
            if gone == Err(Errno::BUSY) && self.is_populated() == Ok(false) {
                remove_below(self.fd(), DEEPEST);
                gone = unlinkat(self.fd(), &path, AtFlags::REMOVEDIR);
            }
            if matches!(gone, Ok(()) | Err(Errno::NOENT)) {
                made.removed.store(true, Ordering::Relaxed);
                return true;
            }
            if gone != Err(Errno::BUSY) {
                return false;
            }
        }
        false
    }
}

impl Drop for OpenCgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The names of the groups directly below one.
fn groups_in(group: impl AsFd) -> Result<Vec<String>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(group, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let is_group = entry.file_type() == FileType::Directory;
        if is_group && name != "." && name != ".." {
            names.push(name.into());
        }
    }
    Ok(names)
}

fn remove_below(group: impl AsFd, depth: u32) {
    let group = group.as_fd();
    let Some(depth) = depth.checked_sub(1) else { return };
    for name in groups_in(group).unwrap_or_default() {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(below) = openat(group, &name, flags, Mode::empty()) {
            remove_below(below, depth);
        }
        let _ = unlinkat(group, &name, AtFlags::REMOVEDIR);
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use crate::parent::std::path::PathBuf;

    #[test]
    fn the_own_group_is_found_below_the_mount_that_has_it() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
             31 30 0:27 /x /mnt/a\\040b rw shared:4 - cgroup2 cgroup rw\n\
             32 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let at = |own: &str| find(own, mounts);
        let path = |path: &str| Some(PathBuf::from(path));
        let unified = "/sys/fs/cgroup/unified";
        assert_eq!(at("1:cpu:/a\n0::/\n"), path(unified));
        assert_eq!(at("0::/a/b"), path("/sys/fs/cgroup/unified/a/b"));
        assert_eq!(at("0::/x"), path("/mnt/a b"));
        assert_eq!(at("0::/x/y"), path("/mnt/a b/y"));
        assert_eq!(at("1:cpu:/a\n"), None);
        assert_eq!(find("0::/", "1 1 0:1 / / rw - ext4 x rw\n"), None);
    }
}
