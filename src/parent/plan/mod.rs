//! Plan: the validated steps of a launch, as data.

pub(crate) mod builder;
mod choose;
mod death_signal;
mod display;
mod end_flags;
mod exec;
pub(crate) mod fd_steps;
pub(crate) mod fds;
pub(crate) mod filter_answer;
pub(crate) mod fixed_strings;
mod gate;
pub(crate) mod helper_layout;
pub(crate) mod helper_steps;
mod hooks;
mod landlock;
pub(crate) mod lower;
pub(crate) mod needs;
pub(crate) mod op;
pub(crate) mod optional_rows;
pub(crate) mod parentage;
pub(crate) mod row_limit;
mod signals;
pub(crate) mod source_fd;
pub(crate) mod step;
mod steps;
pub(crate) mod strategy;
pub(crate) mod strings;
mod variables;

pub(crate) use builder::{Arg, PlanBuilder, StepBuilder, local_row, row};
pub(crate) use death_signal::DeathSignalCheck;
pub(crate) use op::{FdSource, Op, Str};
pub(crate) use parentage::Parentage;
pub(crate) use source_fd::{SourceFd, stdio_step};
pub(crate) use step::{Detail, Effect, Operand, Reasons, StepRecord};
pub(crate) use strategy::Strategy;
pub(crate) use strings::StringTable;

use core::time::Duration;

use super::command::{
    Cgroup, Hook, Landlock, OpenCgroup, ParentHook, ProgramSource,
    SeccompFilter, StdioSource,
};
use super::error::Error;
use super::std::{boxed::Box, vec::Vec};
use crate::call::Call;
use crate::call::raw::RawCall;
use crate::sys::CloneFlags;

/// The steps that a child runs between clone and exec.
///
/// Its `Display` has one line per step: first the engine and its system call,
/// then what the child does, in order. Making a plan opens no file, creates
/// no process and makes no system call (except that
/// [`Command::inherit_jobserver`] looks up two open descriptors,
/// [`Command::resolve_program`] looks up files, and [`Command::landlock`] asks
/// for the kernel's version and for capabilities), so descriptors are shown by
/// their role and not by number.
///
/// [`Command::resolve_program`]: crate::Command::resolve_program
/// [`Command::inherit_jobserver`]: crate::Command::inherit_jobserver
/// [`Command::landlock`]: crate::Command::landlock
///
/// Neither `Display` nor `Debug` shows the value of an environment variable.
/// Arguments are shown.
///
/// # Examples
///
/// ```
/// use offshoot::Command;
///
/// let plan = Command::new("/usr/bin/tar").current_dir("/srv").plan()?;
/// assert!(plan.to_string().contains(r#"chdir            "/srv""#));
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it does nothing by itself"]
pub struct Plan {
    /// The strategy that is tried first.
    pub(crate) strategy: Strategy,
    /// Whether another clone call, and another engine, may be used instead.
    pub(crate) any_method: bool,
    pub(crate) any_engine: bool,
    /// Whether the caller may run on while its memory is shared.
    pub(crate) beside: bool,
    /// The steps of every strategy, and the rows that are the same in all.
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) rows: Vec<Call>,
    pub(crate) strings: StringTable,
    pub(crate) stdio: [StdioSource; 3],
    /// The caller's descriptors; steps refer to them by index.
    pub(crate) source_fds: Vec<SourceFd>,
    /// The numbers at which the child opens files.
    pub(crate) opened: Vec<u32>,
    /// Whether exec leaves the parent death signal, which some option sets.
    pub(crate) death_signal: Option<DeathSignalCheck>,
    /// RLIMIT_NOFILE of the child, where an option sets it.
    pub(crate) file_limit: Option<u64>,
    /// The index of the program's own.
    pub(crate) program_fd: Option<u16>,
    pub(crate) program_source: Option<ProgramSource>,
    /// The numbers at which the helper image has the status page and itself;
    /// known once the plan is prepared.
    pub(crate) helper_fds: [u32; 2],
    /// What its `capget` reads, and the offsets of its argv and envp.
    pub(crate) caps_header: Str,
    pub(crate) helper_lists: (u64, u64),
    /// The path of `program_fd` in `/proc`, known once it is open.
    pub(crate) proc_path: Str,
    /// Whether the next candidate is tried after any error; then the offset of
    /// each one's argv.
    pub(crate) tries_all: bool,
    pub(crate) argvs: Vec<u64>,
    /// Whether a shell runs a candidate that fails with ENOEXEC.
    pub(crate) shell_fallback: bool,
    /// Whether LISTEN_PID is the first variable of the environment.
    pub(crate) listens: bool,
    pub(crate) program: Str,
    /// The signals that steps set to their default, and those they ignore.
    pub(crate) defaults: super::command::SignalSet,
    pub(crate) ignored: super::command::SignalSet,
    pub(crate) parent_death: Option<super::command::ParentDeath>,
    /// The signal mask of the program, if that is not the caller's.
    pub(crate) mask: Option<super::command::SignalSet>,
    pub(crate) hooks: Vec<Hook>,
    /// The seccomp filters that the child installs.
    pub(crate) filters: Vec<SeccompFilter>,
    /// Whether the last of them has a listener.
    pub(crate) listener: bool,
    /// Calls in no rule, for which their caller vouches.
    pub(crate) raw: Vec<RawCall>,
    pub(crate) parent_hooks: Vec<ParentHook>,
    pub(crate) cgroup: Option<Cgroup>,
    /// The group is made for the child, below that one.
    pub(crate) owns_cgroup: bool,
    pub(crate) set_tid: Vec<i32>,
    /// The flags of `autoreap` and `autokill`.
    pub(crate) end_flags: CloneFlags,
    /// The namespaces that the child is created in.
    pub(crate) namespaces: CloneFlags,
    pub(crate) retry_again: Duration,
    /// Whether this process traces the child.
    pub(crate) traced: bool,
    /// Whose child the program is, as the plan shows it: a launch is told.
    pub(crate) parentage: Parentage,
    /// The rules of a ruleset that is made when the plan is prepared, and the
    /// version of the kernel's Landlock; what it lacks.
    pub(crate) landlock: Option<(Box<Landlock>, u32)>,
    pub(crate) landlock_lacks: Option<&'static str>,
    /// Whether they deny to list the root directory; known once it is made.
    pub(crate) hides_root: bool,
}

impl Plan {
    /// Opens the control group of a spawn, or makes it.
    pub(crate) fn open_cgroup(&self) -> Result<Option<OpenCgroup>, Error> {
        let open = if self.owns_cgroup { Cgroup::make } else { Cgroup::open };
        self.cgroup.as_ref().map(open).transpose()
    }

    /// The number that a step reads a source descriptor from.
    pub(crate) fn number(&self, index: u16) -> u32 {
        self.source_fds.get(usize::from(index)).map_or(0, |fd| fd.number)
    }

    /// Its number in the child, from `dup3` on.
    pub(crate) fn child_fd(&self, index: u16) -> u32 {
        self.source_fds.get(usize::from(index)).map_or(0, SourceFd::child_fd)
    }
}
