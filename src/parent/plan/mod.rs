//! Plan: wishes become a list of steps, each checked once.

pub(crate) mod builder;
mod choose;
mod display;
mod exec;
pub(crate) mod fd_steps;
pub(crate) mod fds;
pub(crate) mod fixed_strings;
mod gate;
pub(crate) mod helper_layout;
pub(crate) mod helper_steps;
mod hooks;
pub(crate) mod lower;
pub(crate) mod needs;
pub(crate) mod op;
pub(crate) mod row_limit;
mod signals;
pub(crate) mod source_fd;
pub(crate) mod step;
mod steps;
pub(crate) mod strategy;
pub(crate) mod strings;

use super::command::cgroup::Cgroup;
use super::command::hook::Hook;
use super::command::parent_hook::ParentHook;
use super::command::program_source::ProgramSource;
use super::command::stdio::Source;
use super::std::vec::Vec;
use crate::call::Call;

use op::Str;
use source_fd::SourceFd;
use step::StepRecord;
use strategy::Strategy;
use strings::StringTable;

/// The program that the child runs before it becomes the one asked for.
///
/// Displays as text, one line a step: the engine and its call, then what the
/// child does, in order, with the reason. Making one opens nothing, makes
/// nothing and asks the kernel nothing (but [`Command::inherit_jobserver`]
/// looks at what is open): descriptors stand by their role.
///
/// [`Command::inherit_jobserver`]: crate::Command::inherit_jobserver
///
/// No text of it, `{:?}` included, has the value of a variable of the
/// environment: names, and how many there are. Arguments are shown.
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
    /// The best way to launch it.
    pub(crate) strategy: Strategy,
    /// Whether another call may serve, and another engine.
    pub(crate) any_method: bool,
    pub(crate) any_engine: bool,
    /// The steps of every strategy, and the rows that are the same in all.
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) rows: Vec<Call>,
    pub(crate) strings: StringTable,
    pub(crate) stdio: [Source; 3],
    /// The caller's descriptors; steps name them by their place.
    pub(crate) source_fds: Vec<SourceFd>,
    /// Which of them is the program.
    pub(crate) program_fd: Option<u16>,
    pub(crate) program_source: Option<ProgramSource>,
    /// Where an image finds its page and itself, known once all else is.
    pub(crate) helper_fds: [u32; 2],
    /// What `capget` reads for it, and the places of its argv and envp.
    pub(crate) caps_header: Str,
    pub(crate) helper_lists: (u64, u64),
    /// Its path in `/proc`, known once it is open.
    pub(crate) proc_path: Str,
    /// Whether the next file is tried after any error; the places of the
    /// argv that each has then.
    pub(crate) tries_all: bool,
    pub(crate) argvs: Vec<u64>,
    /// Whether a shell runs what the kernel has no format for.
    pub(crate) shell_fallback: bool,
    /// Whether LISTEN_PID stands before the rest of the environment.
    pub(crate) listens: bool,
    pub(crate) program: Str,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) parent_hooks: Vec<ParentHook>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
}

impl Plan {
    /// The number of one of the caller's descriptors.
    pub(crate) fn number(&self, place: u16) -> u32 {
        self.source_fds.get(usize::from(place)).map_or(0, |fd| fd.number)
    }

    /// Where the child has it while it is needed.
    pub(crate) fn place(&self, place: u16) -> u32 {
        self.source_fds.get(usize::from(place)).map_or(0, SourceFd::place)
    }
}
