//! Plan: wishes become a list of steps, each checked once.

mod emit;
mod exec;
pub(crate) mod fds;
mod files;
mod gate;
pub(crate) mod given;
mod hooks;
mod identity;
pub(crate) mod image;
mod jobserver;
pub(crate) mod listen;
pub(crate) mod lower;
pub(crate) mod method;
mod opening;
mod order;
pub(crate) mod path;
mod phases;
pub(crate) mod room;
pub(crate) mod shape;
mod show;
mod signals;
mod wires;
pub(crate) mod words;

use super::cgroup::Cgroup;
use super::error::{Error, Step};
use super::gate::Before;
use super::hook::Hook;
use super::identity::Groups;
use super::std::{
    boxed::Box,
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    string::String,
    sync::Arc,
    vec::Vec,
};
use super::stdio::{Source, Stdio};
use crate::op::{Op, Str};
use crate::sys::abi::CAPS_HEADER;

use given::{Given, Image, Wanted};
use method::{Engine, Memory, Method};
use path::PathSearch;
use shape::Shape;
use words::Words;

/// What the builder has been told. Plain data; nothing is checked yet.
#[derive(Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) program: OsString,
    /// What is tried in its place, each in turn; it is the first of them.
    pub(crate) candidates: Option<Vec<OsString>>,
    pub(crate) arg0: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) env_clear: bool,
    /// Set, or removed where the value is `None`.
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    /// The whole environment, entry by entry.
    pub(crate) env_exact: Option<Vec<OsString>>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) current_dir_fd: Option<Arc<OwnedFd>>,
    pub(crate) chroot: Option<PathBuf>,
    pub(crate) stdio: [Option<Stdio>; 3],
    pub(crate) fds: Vec<Wanted>,
    pub(crate) unlisted: bool,
    /// Whether make's jobserver is passed on.
    pub(crate) jobserver: bool,
    /// The names of the sockets from 3 up.
    pub(crate) listen: Option<Vec<Option<String>>>,
    /// What the program is run from, if that is no path.
    pub(crate) image: Option<Image>,
    pub(crate) script_fd: Option<i32>,
    pub(crate) shell_fallback: bool,
    pub(crate) process_group: Option<i32>,
    pub(crate) setsid: bool,
    pub(crate) umask: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    pub(crate) hooks: Vec<Hook>,
    /// What this process does with a child that waits.
    pub(crate) before: Vec<Before>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
    pub(crate) path_search: PathSearch,
    pub(crate) method: Method,
    pub(crate) memory: Memory,
    pub(crate) engine: Option<Engine>,
}

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
    pub(crate) shape: Shape,
    /// Whether another call may serve, and another engine.
    pub(crate) any_method: bool,
    pub(crate) any_engine: bool,
    /// The steps of every shape.
    pub(crate) ops: Vec<Op>,
    pub(crate) words: Words,
    pub(crate) stdio: [Source; 3],
    /// The caller's descriptors; steps name them by their place.
    pub(crate) given: Vec<Given>,
    /// Which of them is the program.
    pub(crate) program_fd: Option<u16>,
    pub(crate) image: Option<Image>,
    /// Where an image finds its page and itself, known once all else is.
    pub(crate) lent: [u32; 2],
    /// What `capget` reads for it, and the places of its argv and envp.
    pub(crate) caps_header: Str,
    pub(crate) image_lists: (u64, u64),
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
    pub(crate) before: Vec<Before>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) set_tid: Vec<i32>,
}

/// A plan in the making: what the rows of the order table read and write.
pub(crate) struct Draft<'a> {
    wishes: &'a Wishes,
    plan: Box<Plan>,
}

impl Plan {
    /// Compiles wishes. `default` is what 0 to 2 are where they say nothing;
    /// `here` is for steps that run in this process. In a box, as by value it
    /// would stand in several frames of the caller's stack at once.
    pub(crate) fn compile(
        wishes: &Wishes,
        default: impl Fn(usize) -> Source,
        here: bool,
    ) -> Result<Box<Plan>, Error> {
        let stdio = given::standard(wishes, default)?;
        let shape = method::choose(wishes, here)?;
        // Before any memory of our own: std makes two small strings of each
        // variable, and glibc merges the small pieces that the last ones
        // left, one by one, when a large one is asked for first.
        let whole = wishes.env_clear || wishes.env_exact.is_some();
        let own = (!whole).then(env::vars_os);
        let mut words = Words::new();
        let program = words.program(wishes)?;
        words.environment(wishes, own)?;
        let plan = Box::new(Plan {
            shape,
            any_method: wishes.any_method(),
            any_engine: wishes.any_engine(),
            ops: Vec::with_capacity(24),
            words,
            stdio,
            given: Vec::new(),
            program_fd: None,
            image: wishes.image.clone(),
            lent: [0; 2],
            caps_header: Words::ZEROS,
            image_lists: (0, 0),
            proc_path: Words::ZEROS,
            each: false,
            argvs: Vec::new(),
            shell_fallback: wishes.shell_fallback,
            listens: wishes.listen.is_some(),
            program,
            hooks: wishes.hooks.clone(),
            before: wishes.before.clone(),
            cgroup: wishes.cgroup.clone(),
            set_tid: wishes.set_tid.clone(),
        });
        let mut draft = Draft { wishes, plan };
        emit::image(&mut draft)?;
        for row in order::ORDER {
            (row.emit)(&mut draft)?;
        }
        if shape.engine == Engine::Isolated {
            let header = draft.plan.words.numbers(&CAPS_ARGUMENT);
            let header = header.map_err(|why| why.of(Step::Image, ""));
            draft.plan.caps_header = header?;
            draft.plan.image_lists = draft.plan.words.image_lists();
        }
        draft.plan.has_room()?;
        Ok(draft.plan)
    }

    /// The number of one of the caller's descriptors.
    pub(crate) fn number(&self, place: u16) -> u32 {
        self.given.get(usize::from(place)).map_or(0, |given| given.number)
    }

    /// Where the child has it while it is needed.
    pub(crate) fn place(&self, place: u16) -> u32 {
        self.given.get(usize::from(place)).map_or(0, Given::place)
    }

    /// How many candidates stand before this step.
    pub(crate) fn nth_candidate(&self, step: usize) -> usize {
        let before = self.ops.iter().take(step);
        before.filter(|op| matches!(op, Op::Exec(_))).count()
    }
}

impl Draft<'_> {
    fn push(&mut self, op: Op) {
        self.plan.ops.push(op);
    }

    fn word(&mut self, step: Step, word: &OsStr) -> Result<Str, Error> {
        let put = self.plan.words.put(&[word.as_bytes()]);
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

impl Words {
    /// The program and its arguments: argv.
    fn program(&mut self, wishes: &Wishes) -> Result<Str, Error> {
        let program = wishes.program.as_os_str();
        let (by, why) = match &wishes.candidates {
            None => (Step::Program, "it is empty"),
            Some(all) if all.is_empty() => (Step::Candidates, "there is none"),
            Some(_) => (Step::Candidates, "one of them is empty"),
        };
        if program.is_empty() {
            let error = Error::refused_as(by, libc::ENOENT, why);
            return Err(error.with(program));
        }
        let name = match &wishes.arg0 {
            None => self.argument(program.as_bytes()),
            Some(_) => self.put(&[program.as_bytes()]),
        };
        let name = name.map_err(|why| why.of(by, program))?;
        if let Some(arg0) = &wishes.arg0 {
            let put = self.argument(arg0.as_bytes());
            put.map_err(|why| why.of(Step::Arg0, arg0))?;
        }
        for arg in &wishes.args {
            let put = self.argument(arg.as_bytes());
            put.map_err(|why| why.of(Step::Arg, arg))?;
        }
        self.end_list();
        Ok(name)
    }

    /// The environment: what the process has now, but for what was changed.
    fn environment(
        &mut self,
        wishes: &Wishes,
        own: Option<env::VarsOs>,
    ) -> Result<(), Error> {
        if let Some(entries) = &wishes.env_exact {
            return self.exact(wishes, entries);
        }
        if let Some(names) = &wishes.listen {
            listen::environment(self, wishes, names)?;
        }
        for (key, value) in own.into_iter().flatten() {
            let changed =
                !wishes.env.is_empty() && wishes.env.contains_key(&key);
            let ours = wishes.listen.is_some() && listen::is_ours(&key);
            if !changed && !ours {
                let put = self.inherited(key.as_bytes(), value.as_bytes());
                put.map_err(|why| why.of(Step::Env, key))?;
            }
        }
        for (key, value) in &wishes.env {
            let bytes = key.as_bytes();
            let why = match memchr::memchr(b'=', bytes) {
                _ if bytes.is_empty() => "the name is empty",
                Some(_) => "the name contains '='",
                None if memchr::memchr(0, bytes).is_some() => words::NUL,
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
