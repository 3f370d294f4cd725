//! `Launch`: how a child was created.

use crate::parent::command::{Engine, ParentDeath};
use crate::parent::error::Error;
use crate::parent::std::{boxed::Box, fmt, io, sync::Arc};
use crate::sys::{CloneCall, CloneFlags};

/// How a child was created, from [`Child::launch`].
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
#[derive(Clone, Debug)]
pub struct Launch {
    pub(crate) engine: Engine,
    pub(crate) clone_call: CloneCall,
    pub(crate) flags: CloneFlags,
    pub(crate) cgroup: Option<CgroupEntry>,
    pub(crate) busy: u32,
    pub(crate) again: u32,
    pub(crate) extra_probe_fd: bool,
    pub(crate) confirmed: bool,
    /// `None` for none. In a box, as a `Child` is moved.
    pub(crate) fallbacks: Option<Box<Fallbacks>>,
    pub(crate) parent_death: Option<ParentDeath>,
    pub(crate) refused: Option<Arc<[Error]>>,
    /// The process group that the child was put in.
    pub(crate) process_group: Option<i32>,
}

/// How a child entered its control group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CgroupEntry {
    /// It was created in it (`CLONE_INTO_CGROUP`, Linux 5.7).
    Born,
    /// It wrote to `cgroup.procs` before exec.
    Joined,
}

/// No spawn has more fallbacks.
pub(crate) type Fallbacks = [Option<Fallback>; 6];

/// A feature that was not used, and what replaced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub(crate) feature: &'static str,
    pub(crate) errno: i32,
    pub(crate) instead: &'static str,
}

impl Fallback {
    /// Returns the feature that was missing, rejected or unsuitable, such as
    /// `clone3`, `close_range`, `CLONE_INTO_CGROUP`, `suspended`, `execveat`;
    /// `execve` for a program whose format the kernel does not know;
    /// `landlock` if the kernel lacks a part of what
    /// [`Landlock::best_effort`](crate::Landlock::best_effort) asks for.
    #[must_use]
    pub fn feature(&self) -> &'static str {
        self.feature
    }

    /// Returns its errno; `None` if it was not tried.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        (self.errno != 0).then_some(self.errno)
    }

    /// Returns what replaced it.
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
    /// Returns the engine that created the child.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Returns the system call that created the child: `clone3` or `clone`.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.clone_call.name()
    }

    /// Returns the flags of that call.
    #[must_use]
    pub fn flags(&self) -> CloneFlags {
        self.flags
    }

    /// Returns how the child entered its control group, if
    /// [`Command::cgroup`](crate::Command::cgroup) sets one.
    #[must_use]
    pub fn cgroup(&self) -> Option<CgroupEntry> {
        self.cgroup
    }

    /// Returns whose end sends the child a signal, if
    /// [`Command::parent_death_signal`](crate::Command::parent_death_signal)
    /// or [`Command::die_with_parent`](crate::Command::die_with_parent) is
    /// set.
    #[must_use]
    pub fn parent_death(&self) -> Option<ParentDeath> {
        self.parent_death
    }

    /// Returns the features that were replaced, in the order in which this was
    /// found out.
    pub fn fallbacks(&self) -> impl Iterator<Item = &Fallback> {
        self.fallbacks.iter().flat_map(|all| all.iter().flatten())
    }

    /// Returns the error of each option that the kernel rejected in a
    /// [`Command::best_effort`](crate::Command::best_effort), in the order of
    /// the child's steps. The program runs without these options.
    pub fn refused(&self) -> impl Iterator<Item = &Error> {
        self.refused.iter().flat_map(|all| all.iter())
    }

    /// Returns how often the spawn was repeated because the program was open
    /// for writing (ETXTBSY). A child of another thread can have a copy of a
    /// descriptor until its exec, even if the descriptor is closed here.
    #[must_use]
    pub fn busy_retries(&self) -> u32 {
        self.busy
    }

    /// Returns how often the spawn was repeated because there was no process
    /// id (EAGAIN of clone), which
    /// [`Command::retry_again`](crate::Command::retry_again) permits.
    #[must_use]
    pub fn again_retries(&self) -> u32 {
        self.again
    }

    /// Returns whether an extra descriptor was opened for the check that the
    /// child has a descriptor table of its own. Usually the child's pidfd
    /// serves for that.
    #[must_use]
    pub fn extra_probe_fd(&self) -> bool {
        self.extra_probe_fd
    }

    /// Returns whether the kernel has confirmed the exec. If false, a child
    /// that was killed during execve looks the same as a program that was
    /// killed. It is false:
    ///
    /// - with the pipe engine;
    /// - with the isolated engine, if a signal killed the child near its exec
    ///   and another thread, or the kernel as SIGCHLD is ignored, reaped it;
    ///   and either that happened in this process for the first time
    ///   (afterwards the helper execs in a second thread, which distinguishes
    ///   the two), or no second thread can be created (`RLIMIT_NPROC`,
    ///   `pids.max`), or the command has a `before_exec`, whose child has one
    ///   thread;
    /// - with the isolated engine before Linux 5.15, or under a filter that
    ///   rejects `process_mrelease`, if `FUTEX_TRYLOCK_PI` fails too (a kernel
    ///   without `CONFIG_FUTEX_PI`) and there is no `/proc`;
    /// - for [`Command::spawn_sibling`](crate::Command::spawn_sibling), if a
    ///   signal killed the child near its exec and the parent, or the kernel as
    ///   the parent ignores SIGCHLD, reaped it before this process looked, or
    ///   there is no `/proc`;
    /// - with [`Command::autoreap`](crate::Command::autoreap), if a signal
    ///   killed the child near its exec and it had ended before this process
    ///   looked; with the isolated engine only if no second thread can be
    ///   created, or the command has a `before_exec`;
    /// - if a filter rejects every kind of wait.
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
        for error in self.refused() {
            write!(f, "; without {error}")?;
        }
        Ok(())
    }
}
