//! `Cgroup`: the control group in which a child is created.

use core::fmt;
use core::sync::atomic::AtomicBool;

use crate::parent::error::{Error, Step};
use crate::parent::std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    string::String,
    sync::Arc,
};
use crate::sys::fork_detection::Owner;
use rustix::fs::fstatfs;

/// A control group (version 2), given as its directory ([`cgroups(7)`]).
///
/// # Examples
///
/// ```no_run
/// use offshoot::{Cgroup, Command};
///
/// let group = Cgroup::from("/sys/fs/cgroup/jobs/1");
/// Command::new("make").cgroup(group).spawn()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`cgroups(7)`]: https://man7.org/linux/man-pages/man7/cgroups.7.html
#[derive(Clone)]
pub struct Cgroup(CgroupSource);

#[derive(Clone)]
enum CgroupSource {
    Path(Arc<Path>),
    Open(Arc<OwnedFd>),
}

impl fmt::Debug for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CgroupSource::Path(path) => write!(f, "{path:?}"),
            CgroupSource::Open(fd) => write!(f, "{fd:?}"),
        }
    }
}

impl From<&Path> for Cgroup {
    fn from(path: &Path) -> Cgroup {
        Cgroup(CgroupSource::Path(path.into()))
    }
}

impl From<PathBuf> for Cgroup {
    fn from(path: PathBuf) -> Cgroup {
        Cgroup(CgroupSource::Path(path.into()))
    }
}

impl From<&str> for Cgroup {
    fn from(path: &str) -> Cgroup {
        Path::new(path).into()
    }
}

impl From<OwnedFd> for Cgroup {
    /// Uses the open directory of a control group; `O_PATH` is enough.
    fn from(fd: OwnedFd) -> Cgroup {
        Cgroup(CgroupSource::Open(Arc::new(fd)))
    }
}

impl From<File> for Cgroup {
    fn from(file: File) -> Cgroup {
        OwnedFd::from(file).into()
    }
}

/// `f_type` of `statfs(2)` for the file systems of version 2 and 1.
const CGROUP2: i64 = 0x6367_7270;
const CGROUP1: i64 = 0x0027_E0EB;

/// A control group that is open for one spawn and was verified to be one.
pub(crate) struct OpenCgroup {
    directory: Directory,
    name: PathBuf,
    /// It was made for one child.
    pub(super) made: Option<Made>,
}

/// What is known of a group that was made for one child.
pub(super) struct Made {
    /// Its name in the group above it, which nothing else has made.
    pub(super) name: String,
    pub(super) removed: AtomicBool,
    /// The process that has made it: a fork leaves it alone.
    pub(super) owner: Owner,
}

pub(super) enum Directory {
    Own(OwnedFd),
    Shared(Arc<OwnedFd>),
}

impl Cgroup {
    /// Returns the directory that errors name.
    pub(crate) fn name(&self) -> PathBuf {
        match &self.0 {
            CgroupSource::Path(path) => path.to_path_buf(),
            CgroupSource::Open(fd) => {
                let fd = fd.as_raw_fd();
                let own =
                    crate::parent::std::format!("/proc/thread-self/fd/{fd}");
                fs::read_link(&own).unwrap_or_else(|_| own.into())
            }
        }
    }

    /// Returns the directory that a plan shows, without a system call.
    pub(crate) fn shown(&self) -> Option<&Path> {
        match &self.0 {
            CgroupSource::Path(path) => Some(path),
            CgroupSource::Open(_) => None,
        }
    }

    /// Opens the directory and verifies that it is a version 2 group.
    pub(crate) fn open(&self) -> Result<OpenCgroup, Error> {
        let name = self.name();
        let fail =
            |errno| Error::os(Step::Cgroup, errno).with(name.as_os_str());
        let directory = match &self.0 {
            CgroupSource::Open(fd) => Directory::Shared(Arc::clone(fd)),
            CgroupSource::Path(path) => {
                let mut options = OpenOptions::new();
                options.read(true);
                options.custom_flags(libc::O_PATH | libc::O_DIRECTORY);
                let open: io::Result<File> = options.open(path);
                let open = open.map_err(|e| {
                    Error::io(Step::Cgroup, &e).with(name.as_os_str())
                })?;
                Directory::Own(open.into())
            }
        };
        let group = OpenCgroup::new(directory, name.clone(), None);
        let system = fstatfs(group.fd().as_fd());
        let system = system.map_err(|e| fail(e.raw_os_error()))?;
        let why = match system.f_type {
            CGROUP2 => return Ok(group),
            CGROUP1 => "a control group of version 1 is not supported",
            _ => "not a control group",
        };
        Err(Error::explained(Step::Cgroup, libc::EBADF, why).with(&name))
    }
}

impl fmt::Debug for OpenCgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name)
    }
}

impl OpenCgroup {
    pub(super) fn new(
        directory: Directory,
        name: PathBuf,
        made: Option<Made>,
    ) -> OpenCgroup {
        OpenCgroup { directory, name, made }
    }

    /// Returns the directory that errors name.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        match &self.directory {
            Directory::Own(fd) => fd,
            Directory::Shared(fd) => fd,
        }
    }

    pub(crate) fn number(&self) -> i32 {
        self.fd().as_raw_fd()
    }

    fn path(&self, file: &str) -> PathBuf {
        let number = self.number();
        crate::parent::std::format!("/proc/thread-self/fd/{number}/{file}")
            .into()
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.path(file)).ok()
    }

    /// Whether processes in the group are frozen. The root has no such file.
    pub(crate) fn frozen(&self) -> bool {
        let events = self.read("cgroup.events").unwrap_or_default();
        events.lines().any(|line| line == "frozen 1")
    }

    /// Opens `cgroup.procs`, the file by which a process enters, for writing.
    pub(crate) fn procs(&self) -> Result<File, Error> {
        let file =
            OpenOptions::new().write(true).open(self.path("cgroup.procs"));
        file.map_err(|e| match e.raw_os_error() {
            Some(errno) => self.error(errno),
            None => Error::io(Step::Cgroup, &e).with(&self.name),
        })
    }

    /// Returns the error for a clone or a write that failed with `errno`.
    pub(crate) fn error(&self, errno: i32) -> Error {
        let why = match errno {
            libc::ENOENT | libc::ENODEV => "the group was removed",
            libc::EBUSY => {
                "the group has controllers enabled for its child groups"
            }
            libc::EOPNOTSUPP => {
                "the group is threaded, or in an invalid domain"
            }
            libc::EACCES | libc::EPERM => {
                "the group is not delegated to the caller"
            }
            libc::EAGAIN => {
                "the group has as many processes as pids.max allows"
            }
            _ => return Error::os(Step::Cgroup, errno).with(&self.name),
        };
        Error::explained(Step::Cgroup, errno, why).with(&self.name)
    }

    /// Whether the group is the cause of a failed clone, as far as its files
    /// show: most errors of clone have other causes too.
    pub(crate) fn is_cause_of(&self, errno: i32) -> bool {
        match errno {
            libc::EBADF
            | libc::EBUSY
            | libc::EOPNOTSUPP
            | libc::EACCES
            | libc::ENOENT
            | libc::ENODEV => true,
            libc::EAGAIN => self.full(),
            _ => false,
        }
    }

    fn full(&self) -> bool {
        let number = |file| self.read(file)?.trim().parse::<u64>().ok();
        match (number("pids.current"), number("pids.max")) {
            (Some(now), Some(most)) => now >= most,
            _ => false,
        }
    }
}
