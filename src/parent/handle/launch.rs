//! `Launch`: what was used to make a child.

use crate::parent::command::method::Engine;
use crate::parent::std::{fmt, io};
use crate::sys::{CloneCall, CloneFlags};

/// How a child was made, as [`Child::launch`] tells.
///
/// # Examples
///
/// ```
/// use offshoot::{CloneFlags, Command};
///
/// let mut child = Command::new("/bin/true").spawn()?;
/// let launch = child.launch();
/// println!("{launch}");
/// if launch.call() == "clone3" {
///     assert!(launch.flags().contains(CloneFlags::VM | CloneFlags::VFORK));
///     assert_eq!(launch.fallbacks().count(), 0);
/// }
/// assert_eq!(launch.busy_retries(), 0);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Child::launch`]: crate::Child::launch
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    pub(crate) engine: Engine,
    pub(crate) clone_call: CloneCall,
    pub(crate) flags: CloneFlags,
    pub(crate) cgroup: Option<CgroupEntry>,
    pub(crate) busy: u32,
    pub(crate) extra_probe_fd: bool,
    pub(crate) confirmed: bool,
    pub(crate) fallbacks: Fallbacks,
}

/// How a child came into its control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupEntry {
    /// It was born there (`CLONE_INTO_CGROUP`).
    Born,
    /// It wrote itself into `cgroup.procs`, before exec.
    Joined,
}

/// The first few; there are not more features that can be missing.
pub(crate) type Fallbacks = [Option<Fallback>; 6];

/// Something that was not to be had, and what served instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub(crate) feature: &'static str,
    pub(crate) errno: i32,
    pub(crate) instead: &'static str,
}

impl Fallback {
    /// What was missing, refused or unwise: `clone3`, `close_range`,
    /// `CLONE_INTO_CGROUP`, `suspended`, `execveat`; `execve` for a program
    /// that the kernel has no format for.
    #[must_use]
    pub fn feature(&self) -> &'static str {
        self.feature
    }

    /// The errno that it gave; `None` if it was not tried.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        (self.errno != 0).then_some(self.errno)
    }

    /// What served in its place.
    #[must_use]
    pub fn instead(&self) -> &'static str {
        self.instead
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instead of {}", self.instead, self.feature)?;
        match self.raw_os_error() {
            Some(errno) => {
                write!(f, " ({})", io::Error::from_raw_os_error(errno))
            }
            None => Ok(()),
        }
    }
}

impl Launch {
    /// The engine that made the child.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The system call that made the child: `clone3` or `clone`.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.clone_call.name()
    }

    /// The flags it was given.
    #[must_use]
    pub fn flags(&self) -> CloneFlags {
        self.flags
    }

    /// How the child came into its control group, if one was asked for.
    #[must_use]
    pub fn cgroup(&self) -> Option<CgroupEntry> {
        self.cgroup
    }

    /// What was not to be had, and what served instead, in the order it was
    /// found out.
    pub fn fallbacks(&self) -> impl Iterator<Item = &Fallback> {
        self.fallbacks.iter().flatten()
    }

    /// How often exec found the program still open for writing (`ETXTBSY`)
    /// and the spawn was begun anew. Another thread's child may hold a copy
    /// of a descriptor, closed here already, until it execs.
    #[must_use]
    pub fn busy_retries(&self) -> u32 {
        self.busy
    }

    /// Whether a descriptor was made for the proof that the child's table is
    /// its own. Else the child's pidfd served.
    #[must_use]
    pub fn extra_probe_fd(&self) -> bool {
        self.extra_probe_fd
    }

    /// Whether the kernel itself has said that the program runs. False, and
    /// then a child that was killed inside execve looks like its program:
    ///
    /// - of the engine pipe, always;
    /// - of the engine isolated, if a signal ended the child around its exec
    ///   and it was reaped by another thread, or by the kernel as SIGCHLD is
    ///   ignored, and this process had not seen anybody do so before (from
    ///   then on such an exec is known), or may not make one more thread
    ///   (`RLIMIT_NPROC`, `pids.max`), or the command has a `before_exec`,
    ///   whose child has one thread;
    /// - of the engine isolated before Linux 5.15 or under a filter that
    ///   refuses `process_mrelease`, if `FUTEX_TRYLOCK_PI` is refused too (a
    ///   kernel without `CONFIG_FUTEX_PI`) and there is no `/proc`;
    /// - where a filter refuses every wait there is.
    #[must_use]
    pub fn confirmed(&self) -> bool {
        self.confirmed
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}({})", self.engine, self.call(), self.flags)?;
        for fallback in self.fallbacks() {
            write!(f, "; {fallback}")?;
        }
        Ok(())
    }
}
