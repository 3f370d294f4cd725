//! `Command`: the options of a program to start.

pub(crate) mod capabilities;
pub(crate) mod cgroup;
pub(crate) mod environment;
pub(crate) mod families;
pub(crate) mod fd_request;
mod fields;
mod getters;
pub(crate) mod groups;
pub(crate) mod hook;
mod hook_ids;
pub(crate) mod landlock;
pub(crate) mod limits;
pub(crate) mod method;
pub(crate) mod namespaces;
pub(crate) mod open_options;
pub(crate) mod options;
mod own_cgroup;
pub(crate) mod parent_death;
pub(crate) mod parent_hook;
pub(crate) mod path_search;
pub(crate) mod personality;
pub(crate) mod program_source;
pub(crate) mod raw_arg;
pub(crate) mod scheduling;
pub(crate) mod seccomp;
mod shell_line;
pub(crate) mod signal_set;
pub(crate) mod stdio;

pub use getters::{CommandArgs, CommandEnvs};
pub use parent_death::ParentDeath;

pub(crate) use capabilities::{CapabilitySet, Securebits};
pub(crate) use cgroup::{Cgroup, OpenCgroup};
pub(crate) use environment::Environment;
pub(crate) use fd_request::FdRequest;
pub(crate) use groups::{Groups, GroupsSetting};
pub(crate) use hook::{Hook, HookContext};
pub(crate) use landlock::Landlock;
pub(crate) use limits::{Resource, Rlimit};
pub(crate) use method::{Engine, Memory, Method};
pub(crate) use options::{Ids, Options, SessionKeyring, SessionOptions};
pub(crate) use parent_hook::{ParentHook, ParentHooks};
pub(crate) use path_search::PathSearch;
pub(crate) use personality::Personality;
pub(crate) use program_source::ProgramSource;
pub(crate) use scheduling::{IoPriority, NumaPolicy, Scheduler};
pub(crate) use seccomp::{SeccompFilter, SockFilter};
pub(crate) use signal_set::SignalSet;
pub(crate) use stdio::{FdArg, Stdio, StdioSource};

use super::std::{boxed::Box, ffi::OsStr};

/// A builder for a process: the program to start, and how.
///
/// Methods have the names of [`std::process::Command`]. Setters record an
/// option and never fail. [`Command::plan`], [`Command::prepare`] and
/// [`Command::spawn`] validate all options before a process is created.
///
/// By default the child inherits descriptors 0, 1 and 2 and no other, this
/// process's environment at the time of the call, and the caller's signal
/// mask. It has no signal handlers, and SIGPIPE has its default action.
///
/// # Examples
///
/// ```
/// use offshoot::Command;
///
/// let output = Command::new("echo").args(["a", "b"]).output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"a b\n");
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`std::process::Command`]: https://doc.rust-lang.org/std/process/struct.Command.html
#[derive(Clone)]
pub struct Command {
    /// Boxed: they have over a thousand bytes, which would be on the stack of
    /// every caller.
    pub(crate) options: Box<Options>,
}

impl Command {
    /// Creates a command for a program.
    ///
    /// A name that contains a slash is a path. A relative path is resolved by
    /// the child, after [`Command::current_dir`]. A name without a slash is
    /// searched for in the directories of the child's `PATH`, skipping entries
    /// that are empty or not absolute: see [`Command::path_search`].
    ///
    /// # Errors
    ///
    /// [`Step::Program`](crate::Step::Program) if the name is empty or
    /// contains a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(offshoot::Command::new("/bin/true").status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        let mut options = Box::<Options>::default();
        options.program.name = program.as_ref().to_os_string();
        Command { options }
    }
}
