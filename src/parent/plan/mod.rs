//! Plan: wishes become a list of steps, each checked once.

mod display;
mod emit;
mod exec;
mod fd_steps;
pub(crate) mod fds;
mod files;
mod fixed_strings;
mod gate;
pub(crate) mod helper_layout;
mod helper_steps;
mod hooks;
mod identity;
mod jobserver;
pub(crate) mod listen;
pub(crate) mod lower;
pub(crate) mod method;
pub(crate) mod op;
mod order;
pub(crate) mod path;
pub(crate) mod row_limit;
mod signals;
pub(crate) mod source_fd;
pub(crate) mod strategy;
pub(crate) mod strings;

use super::command::cgroup::Cgroup;
use super::command::hook::Hook;
use super::command::method::Engine;
use super::command::options::Options;
use super::command::parent_hook::ParentHook;
use super::command::program_source::ProgramSource;
use super::command::stdio::Source;
use super::error::{Error, Step};
use super::std::{
    boxed::Box, env, ffi::OsStr, os::unix::ffi::OsStrExt, vec::Vec,
};
use crate::sys::abi::CAPS_HEADER;

use op::{Op, Str};
use source_fd::SourceFd;
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
    /// The steps of every shape.
    pub(crate) ops: Vec<Op>,
    pub(crate) strings: StringTable,
    pub(crate) stdio: [Source; 3],
    /// The caller's descriptors; steps name them by their place.
    pub(crate) given: Vec<SourceFd>,
    /// Which of them is the program.
    pub(crate) program_fd: Option<u16>,
    pub(crate) image: Option<ProgramSource>,
    /// Where an image finds its page and itself, known once all else is.
    pub(crate) helper_fds: [u32; 2],
    /// What `capget` reads for it, and the places of its argv and envp.
    pub(crate) caps_header: Str,
    pub(crate) helper_lists: (u64, u64),
    /// Its path in `/proc`, known once it is open.
    pub(crate) proc_path: Str,
    /// Whether the next file is tried after any error; the places of the
    /// argv that each has then.
    pub(crate) each: bool,
    pub(crate) argvs: Vec<u64>,
    /// Whether a shell runs what the kernel has no format for.
    pub(crate) shell_fallback: bool,
    /// Whether LISTEN_PID stands before the rest of the environment.
    pub(crate) listens: bool,
    pub(crate) program: Str,
    pub(crate) hooks: Vec<Hook>,
    pub(crate) before: Vec<ParentHook>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
}

/// A plan in the making: what the rows of the order table read and write.
pub(crate) struct PlanBuilder<'a> {
    options: &'a Options,
    plan: Box<Plan>,
}

impl Plan {
    /// Compiles wishes. `default` is what 0 to 2 are where they say nothing;
    /// `here` is for steps that run in this process. In a box, as by value it
    /// would stand in several frames of the caller's stack at once.
    pub(crate) fn compile(
        options: &Options,
        default: impl Fn(usize) -> Source,
        here: bool,
    ) -> Result<Box<Plan>, Error> {
        let stdio = source_fd::standard(options, default)?;
        let strategy = method::choose(options, here)?;
        // Before any memory of our own: std makes two small strings of each
        // variable, and glibc merges the small pieces that the last ones
        // left, one by one, when a large one is asked for first.
        let whole = options.env_clear || options.env_exact.is_some();
        let own = (!whole).then(env::vars_os);
        let mut strings = StringTable::new();
        let program = strings.program(options)?;
        strings.environment(options, own)?;
        let plan = Box::new(Plan {
            strategy,
            any_method: options.any_method(),
            any_engine: options.any_engine(),
            ops: Vec::with_capacity(24),
            strings,
            stdio,
            given: Vec::new(),
            program_fd: None,
            image: options.image.clone(),
            helper_fds: [0; 2],
            caps_header: StringTable::ZEROS,
            helper_lists: (0, 0),
            proc_path: StringTable::ZEROS,
            each: false,
            argvs: Vec::new(),
            shell_fallback: options.shell_fallback,
            listens: options.listen.is_some(),
            program,
            hooks: options.hooks.clone(),
            before: options.before.clone(),
            cgroup: options.cgroup.clone(),
            set_tid: options.set_tid.clone(),
        });
        let mut builder = PlanBuilder { options, plan };
        emit::image(&mut builder)?;
        for row in order::ORDER {
            (row.emit)(&mut builder)?;
        }
        if strategy.engine == Engine::Isolated {
            let header = builder.plan.strings.numbers(&CAPS_ARGUMENT);
            let header = header.map_err(|why| why.of(Step::Image, ""));
            builder.plan.caps_header = header?;
            builder.plan.helper_lists = builder.plan.strings.helper_lists();
        }
        builder.plan.has_room()?;
        Ok(builder.plan)
    }

    /// The number of one of the caller's descriptors.
    pub(crate) fn number(&self, place: u16) -> u32 {
        self.given.get(usize::from(place)).map_or(0, |given| given.number)
    }

    /// Where the child has it while it is needed.
    pub(crate) fn place(&self, place: u16) -> u32 {
        self.given.get(usize::from(place)).map_or(0, SourceFd::place)
    }

    /// How many candidates stand before this step.
    pub(crate) fn nth_candidate(&self, step: usize) -> usize {
        let before = self.ops.iter().take(step);
        before.filter(|op| matches!(op, Op::Exec(_))).count()
    }
}

impl PlanBuilder<'_> {
    fn push(&mut self, op: Op) {
        self.plan.ops.push(op);
    }

    fn word(&mut self, step: Step, word: &OsStr) -> Result<Str, Error> {
        let put = self.plan.strings.put(&[word.as_bytes()]);
        put.map_err(|why| why.of(step, word))
    }
}

/// `capget`'s header, for the calling process, and room for what follows.
const CAPS_ARGUMENT: [u32; 6] = [CAPS_HEADER, 0, 0, 0, 0, 0];

/// The option that speaks of a standard descriptor.
pub(crate) fn stdio_step(n: u8) -> Step {
    match n {
        0 => Step::Stdin,
        1 => Step::Stdout,
        _ => Step::Stderr,
    }
}

impl StringTable {
    /// The program and its arguments: argv.
    fn program(&mut self, options: &Options) -> Result<Str, Error> {
        let program = options.program.as_os_str();
        let (by, why) = match &options.candidates {
            None => (Step::Program, "it is empty"),
            Some(all) if all.is_empty() => (Step::Candidates, "there is none"),
            Some(_) => (Step::Candidates, "one of them is empty"),
        };
        if program.is_empty() {
            let error = Error::refused_as(by, libc::ENOENT, why);
            return Err(error.with(program));
        }
        let name = match &options.arg0 {
            None => self.argument(program.as_bytes()),
            Some(_) => self.put(&[program.as_bytes()]),
        };
        let name = name.map_err(|why| why.of(by, program))?;
        if let Some(arg0) = &options.arg0 {
            let put = self.argument(arg0.as_bytes());
            put.map_err(|why| why.of(Step::Arg0, arg0))?;
        }
        for arg in &options.args {
            let put = self.argument(arg.as_bytes());
            put.map_err(|why| why.of(Step::Arg, arg))?;
        }
        self.end_list();
        Ok(name)
    }

    /// The environment: what the process has now, but for what was changed.
    fn environment(
        &mut self,
        options: &Options,
        own: Option<env::VarsOs>,
    ) -> Result<(), Error> {
        if let Some(callbacks) = &options.env_exact {
            return self.exact(options, callbacks);
        }
        if let Some(names) = &options.listen {
            listen::environment(self, options, names)?;
        }
        for (key, value) in own.into_iter().flatten() {
            let changed =
                !options.env.is_empty() && options.env.contains_key(&key);
            let ours = options.listen.is_some() && listen::is_ours(&key);
            if !changed && !ours {
                let put = self.inherited(key.as_bytes(), value.as_bytes());
                put.map_err(|why| why.of(Step::Env, key))?;
            }
        }
        for (key, value) in &options.env {
            let bytes = key.as_bytes();
            let why = match memchr::memchr(b'=', bytes) {
                _ if bytes.is_empty() => "the name is empty",
                Some(_) => "the name contains '='",
                None if memchr::memchr(0, bytes).is_some() => strings::NUL,
                None => {
                    if let Some(value) = value {
                        self.variable(key, value)?;
                    }
                    continue;
                }
            };
            return Err(Error::refused(Step::Env, why).with(key));
        }
        self.end_list();
        Ok(())
    }

    fn variable(&mut self, key: &OsStr, value: &OsStr) -> Result<(), Error> {
        self.pair(key.as_bytes(), value.as_bytes())
            .map_err(|why| why.of(Step::Env, key))
    }
}
