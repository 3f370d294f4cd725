//! `Landlock`: what a program may do with files and TCP ports, as a ruleset
//! that is made when a command is prepared.

use rustix::fs::fstat;

use crate::parent::error::{Error, Step};
use crate::parent::std::{
    format,
    fs::{File, OpenOptions},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    vec::Vec,
};
use crate::sys::Errno;
use crate::sys::landlock::{
    RulesetAttr, abi, allow_path, allow_port, create_ruleset,
};

/// What a program may do: [`Command::landlock`] confines it to that
/// ([`landlock(7)`]). It needs no privilege, but
/// `no_new_privs` where the child lacks CAP_SYS_ADMIN.
///
/// Files that no method permits cannot be opened, executed, created, removed
/// or truncated; a directory stands for everything below it. TCP, ioctl on
/// devices, signals and abstract sockets are restricted only if a method says
/// so. Descriptors that the program inherits keep their rights, and looking
/// up a path, [`stat(2)`], [`chdir(2)`], [`chmod(2)`] and [`setxattr(2)`] are
/// never restricted. The program cannot mount or unmount anything, and can
/// debug only what is confined as it is. No process that it starts can have
/// more rights.
///
/// To be executed, a program needs [`execute`](Landlock::execute) for itself,
/// for the interpreter of a script, and for the dynamic loader, and
/// [`read`](Landlock::read) (which `execute` includes) for its libraries. So
/// most programs need `execute("/usr")`, and `/lib` and `/lib64` where they
/// are no links to it, and often `read("/etc")`, and `/dev/null`. With
/// `execute` for the program and its dynamic loader alone (`ldd` shows it) and
/// `read("/usr")`, it can execute nothing else.
///
/// # Kernel versions
///
/// | ABI | Linux | adds |
/// | --- | --- | --- |
/// | 1 | 5.13 | files |
/// | 2 | 5.19 | renames to another directory; always denied before |
/// | 3 | 6.2 | truncation; not restricted before |
/// | 4 | 6.7 | TCP: [`no_tcp`](Landlock::no_tcp) |
/// | 5 | 6.10 | ioctl on devices: [`no_ioctl`](Landlock::no_ioctl) |
/// | 6 | 6.12 | [`scope_signals`](Landlock::scope_signals), [`scope_abstract_sockets`](Landlock::scope_abstract_sockets) |
/// | 7 | 6.15 | [`log_denials`](Landlock::log_denials) |
///
/// By default the kernel must have everything that is asked for, 6.2 or later;
/// otherwise the plan is an error. See [`Landlock::best_effort`].
///
/// # Examples
///
/// ```
/// use offshoot::Landlock;
///
/// let rules = Landlock::new().execute("/usr").read("/etc").write("/var/tmp").no_tcp();
/// assert_eq!(rules.required_abi(), 4);
/// if Landlock::kernel_abi() < 4 {
///     assert!(rules.left_out().any(|what| what.starts_with("TCP")));
/// }
/// ```
///
/// [`Command::landlock`]: crate::Command::landlock
/// [`chdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
/// [`chmod(2)`]: https://man7.org/linux/man-pages/man2/chmod.2.html
/// [`landlock(7)`]: https://man7.org/linux/man-pages/man7/landlock.7.html
/// [`setxattr(2)`]: https://man7.org/linux/man-pages/man2/setxattr.2.html
/// [`stat(2)`]: https://man7.org/linux/man-pages/man2/stat.2.html
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Landlock {
    paths: Vec<(PathBuf, u64)>,
    ports: Vec<(u16, u64)>,
    tcp: bool,
    ioctl: bool,
    scoped: u64,
    logs: bool,
    /// The version that the kernel must have; `None` for all that is asked
    /// for.
    least: Option<u32>,
}

/// Accesses to files, `LANDLOCK_ACCESS_FS_*`.
mod fs {
    pub(super) const EXECUTE: u64 = 1;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const REMOVE: u64 = 1 << 4 | 1 << 5;
    /// Directories, regular files, sockets, FIFOs and symbolic links.
    pub(super) const MAKE: u64 = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12;
    pub(super) const REFER: u64 = 1 << 13;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEV: u64 = 1 << 15;
    /// What a version knows, without ioctl.
    pub(super) const ABI_1: u64 = (1 << 13) - 1;
    /// What a file can have that is no directory.
    pub(super) const OF_FILE: u64 =
        EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

/// `LANDLOCK_ACCESS_NET_*`.
const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

/// `LANDLOCK_SCOPE_*`.
const ABSTRACT_SOCKETS: u64 = 1;
const SIGNALS: u64 = 1 << 1;

/// `LANDLOCK_RESTRICT_SELF_*`: denials of the child before its exec are not
/// logged, those of the program are. Both from ABI 7 on.
const LOG_SAME_EXEC_OFF: u32 = 1;
const LOG_NEW_EXEC_ON: u32 = 1 << 1;

/// What each version adds that an older one does not restrict.
const ADDED: [(u32, &str); 6] = [
    (1, "files (ABI 1, Linux 5.13)"),
    (3, "truncation (ABI 3, Linux 6.2)"),
    (4, "TCP (ABI 4, Linux 6.7)"),
    (5, "ioctl on devices (ABI 5, Linux 6.10)"),
    (6, "signals and abstract sockets (ABI 6, Linux 6.12)"),
    (7, "the log of denials (ABI 7, Linux 6.15)"),
];

impl Landlock {
    /// Permits no access to files.
    pub fn new() -> Landlock {
        Landlock::default()
    }

    fn path(mut self, path: &Path, access: u64) -> Landlock {
        self.paths.push((path.to_path_buf(), access));
        self
    }

    /// Permits to read a file, or to list a directory and read all files
    /// below it.
    pub fn read<P: AsRef<Path>>(self, path: P) -> Landlock {
        self.path(path.as_ref(), fs::READ_FILE | fs::READ_DIR)
    }

    /// Permits to write to a file and truncate it; below a directory also to
    /// create, rename and remove files, directories, symbolic links, sockets
    /// and FIFOs, but no devices. Does not permit to read.
    pub fn write<P: AsRef<Path>>(self, path: P) -> Landlock {
        let change = fs::REMOVE | fs::MAKE | fs::REFER;
        let access = fs::WRITE_FILE | fs::TRUNCATE | change;
        self.path(path.as_ref(), access)
    }

    /// Permits to execute and read a file, or all files below a directory.
    pub fn execute<P: AsRef<Path>>(self, path: P) -> Landlock {
        let read = fs::READ_FILE | fs::READ_DIR;
        self.path(path.as_ref(), fs::EXECUTE | read)
    }

    /// Denies [`ioctl(2)`] on devices that the program opens, except for the
    /// requests that every file has, such as FIOCLEX.
    ///
    /// [`ioctl(2)`]: https://man7.org/linux/man-pages/man2/ioctl.2.html
    pub fn no_ioctl(mut self) -> Landlock {
        self.ioctl = true;
        self
    }

    /// Permits ioctl on a device, or on all devices below a directory, and
    /// denies it on others.
    pub fn ioctl<P: AsRef<Path>>(self, path: P) -> Landlock {
        self.no_ioctl().path(path.as_ref(), fs::IOCTL_DEV)
    }

    /// Denies to bind and to connect TCP sockets. Other protocols, UDP for
    /// example, are not restricted.
    pub fn no_tcp(mut self) -> Landlock {
        self.tcp = true;
        self
    }

    /// Permits to bind TCP sockets to a port, and denies all that is not
    /// permitted of TCP. 0 permits the ports that the kernel chooses.
    pub fn tcp_bind(mut self, port: u16) -> Landlock {
        self.ports.push((port, BIND_TCP));
        self.no_tcp()
    }

    /// Permits to connect TCP sockets to a port of any host, and denies all
    /// that is not permitted of TCP.
    pub fn tcp_connect(mut self, port: u16) -> Landlock {
        self.ports.push((port, CONNECT_TCP));
        self.no_tcp()
    }

    /// Denies to signal processes that are not confined as the program is,
    /// its parent for example.
    pub fn scope_signals(mut self) -> Landlock {
        self.scoped |= SIGNALS;
        self
    }

    /// Denies to connect to abstract unix sockets of processes that are not
    /// confined as the program is.
    pub fn scope_abstract_sockets(mut self) -> Landlock {
        self.scoped |= ABSTRACT_SOCKETS;
        self
    }

    /// Writes what is denied to the program to the audit log.
    pub fn log_denials(mut self) -> Landlock {
        self.logs = true;
        self
    }

    /// Leaves out what the kernel lacks, all of it if it has no Landlock:
    /// [`Launch::fallbacks`] has an entry `landlock` then, and
    /// [`Landlock::left_out`] says what it is.
    ///
    /// [`Launch::fallbacks`]: crate::Launch::fallbacks
    pub fn best_effort(self) -> Landlock {
        self.at_least(0)
    }

    /// As [`Landlock::best_effort`], but the kernel must have this version at
    /// least.
    pub fn at_least(mut self, abi: u32) -> Landlock {
        self.least = Some(abi);
        self
    }

    /// Returns the version that has everything that is asked for.
    #[must_use]
    pub fn required_abi(&self) -> u32 {
        let asked = [
            (true, 3),
            (self.tcp, 4),
            (self.ioctl, 5),
            (self.scoped != 0, 6),
            (self.logs, 7),
        ];
        let asked = asked.into_iter().filter(|(asked, _)| *asked);
        asked.map(|(_, abi)| abi).max().unwrap_or_default()
    }

    /// Returns the version of the kernel's Landlock, 0 if it has none or a
    /// filter rejects the call.
    #[must_use]
    pub fn kernel_abi() -> u32 {
        abi().unwrap_or_default()
    }

    /// Returns what is asked for and this kernel lacks.
    pub fn left_out(&self) -> impl Iterator<Item = &'static str> {
        let own = Landlock::kernel_abi();
        let asked =
            [true, true, self.tcp, self.ioctl, self.scoped != 0, self.logs];
        let all = ADDED.into_iter().zip(asked);
        all.filter(move |((abi, _), asked)| *asked && *abi > own)
            .map(|((_, what), _)| what)
    }

    /// Returns the version to make the ruleset for, and 0 if it is to be left
    /// out, or the error of a kernel that is too old.
    pub(crate) fn usable_abi(&self) -> Result<u32, Error> {
        let least = self.least.unwrap_or_else(|| self.required_abi());
        let (own, errno) = match abi() {
            Ok(own) => (own, libc::EOPNOTSUPP),
            Err(Errno(errno)) => (0, errno),
        };
        if own >= least {
            return Ok(own.min(7));
        }
        let why = match (own, errno) {
            (0, libc::ENOSYS) => {
                "the kernel has no Landlock: it takes Linux 5.13 and \
                 CONFIG_SECURITY_LANDLOCK"
            }
            (0, libc::EOPNOTSUPP) => {
                "Landlock is not enabled: it takes `landlock` in the kernel's \
                 parameter lsm="
            }
            (0, _) => "a filter rejects landlock_create_ruleset",
            _ => too_old(least),
        };
        let error = Error::explained(Step::Landlock, errno, why);
        Err(error.with(format!("ABI {least}")))
    }

    /// Returns what a launch reports of a kernel that lacks something.
    pub(crate) fn lacks(&self, abi: u32) -> Option<&'static str> {
        let own = match abi {
            0 => "no restriction",
            1 => "ABI 1, without what newer ones add",
            2 => "ABI 2, without what newer ones add",
            3 => "ABI 3, without what newer ones add",
            4 => "ABI 4, without what newer ones add",
            5 => "ABI 5, without what newer ones add",
            _ => "ABI 6, without what newer ones add",
        };
        (abi < self.required_abi()).then_some(own)
    }

    /// The flags of `landlock_restrict_self`.
    pub(crate) fn flags(&self, abi: u32) -> u32 {
        match (abi, self.logs) {
            (..7, _) => 0,
            (7.., false) => LOG_SAME_EXEC_OFF,
            (7.., true) => LOG_SAME_EXEC_OFF | LOG_NEW_EXEC_ON,
        }
    }

    /// The number of rules.
    pub(crate) fn len(&self) -> usize {
        self.paths.len() + self.ports.len()
    }

    /// How a plan shows it.
    pub(crate) fn shown(&self) -> &'static str {
        match (self.tcp, self.scoped != 0) {
            (false, false) => "files",
            (true, false) => "files, TCP",
            (false, true) => "files, scopes",
            (true, true) => "files, TCP, scopes",
        }
    }

    /// Makes the ruleset. Also returns whether a process that it confines
    /// cannot list the root directory.
    pub(crate) fn create(&self, abi: u32) -> Result<(OwnedFd, bool), Error> {
        let os = |Errno(errno)| Error::os(Step::Landlock, errno);
        let mut handled = fs::ABI_1;
        handled |= if abi >= 2 { fs::REFER } else { 0 };
        handled |= if abi >= 3 { fs::TRUNCATE } else { 0 };
        handled |= if abi >= 5 && self.ioctl { fs::IOCTL_DEV } else { 0 };
        let tcp = abi >= 4 && self.tcp;
        let attr = RulesetAttr {
            handled_access_fs: handled,
            handled_access_net: if tcp { BIND_TCP | CONNECT_TCP } else { 0 },
            scoped: if abi >= 6 { self.scoped } else { 0 },
        };
        let ruleset = create_ruleset(&attr).map_err(os)?;
        let root = File::open("/").and_then(|root| inode(&root)).ok();
        let mut hides_root = root.is_some();
        for (path, access) in &self.paths {
            let access = access & handled;
            let named = |error: Error| error.with(path);
            let file = open(path).map_err(named)?;
            let own = inode(&file);
            let own = own.map_err(|e| named(Error::io(Step::Landlock, &e)))?;
            let access =
                if own.is_dir { access } else { access & fs::OF_FILE };
            let lists = own.is_dir && access & fs::READ_DIR != 0;
            hides_root &= !lists || root != Some(own);
            if access != 0 {
                allow_path(ruleset.as_fd(), file.as_fd(), access)
                    .map_err(|errno| named(os(errno)))?;
            }
        }
        for (port, access) in self.ports.iter().filter(|_| tcp) {
            allow_port(ruleset.as_fd(), *port, *access)
                .map_err(|errno| os(errno).with(format!("port {port}")))?;
        }
        Ok((ruleset, hides_root))
    }
}

/// The error's text for a version that the kernel has not.
fn too_old(least: u32) -> &'static str {
    match least {
        ..=2 => "it takes Linux 5.19, for renames to another directory",
        3 => "it takes Linux 6.2, for truncation",
        4 => "it takes Linux 6.7, for TCP",
        5 => "it takes Linux 6.10, for ioctl on devices",
        6 => "it takes Linux 6.12, for signals and abstract sockets",
        7 => "it takes Linux 6.15, for the log of denials",
        _ => "the kernel's version of Landlock is older",
    }
}

/// A file by its inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    is_dir: bool,
}

fn inode(file: &File) -> crate::parent::std::io::Result<Inode> {
    let stat = fstat(file)?;
    let is_dir = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    Ok(Inode { device: stat.st_dev, number: stat.st_ino, is_dir })
}

/// Opens what a rule is about: no permission for the file itself is needed.
fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC);
    options.open(path).map_err(|e| Error::io(Step::Landlock, &e))
}
