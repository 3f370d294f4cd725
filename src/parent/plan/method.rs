//! Method: the ways of making a child, by name, and which of them serves.

use super::Wishes;
use super::shape::Shape;
use crate::parent::error::{Error, Step};
use crate::parent::std::{ffi::OsString, fmt, format};
use crate::sys::Maker;

/// The way in which a child was made.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine};
///
/// let mut child = Command::new("/bin/true").spawn()?;
/// assert_eq!(child.launch().engine(), Engine::Suspended);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The child runs in the caller's memory while the caller sleeps, until
    /// exec or death. The time it takes does not depend on how much memory
    /// the caller has.
    Suspended,
    /// As suspended, up to a first exec: of a small program in memory that
    /// holds the rest of the steps and makes them in memory of its own. For
    /// ids and whatever else must not run in the caller's memory; the time
    /// does not depend on how much of that there is. The caller's wait takes
    /// signals from that exec on.
    ///
    /// A spawn that fails after that exec raises SIGCHLD, as the child is an
    /// ordinary one then; what failed is known whoever waits for it.
    Isolated,
    /// The child runs in a copy of the caller's memory. The time it takes
    /// grows with that memory: about 40 ms a GiB. The caller's wait takes
    /// signals.
    Copied,
    /// As copied, but by a plain clone whose exec is told by the end of a
    /// pipe: for emulators that honour nothing else. A thread that forks
    /// without exec meanwhile delays it, a failed child raises SIGCHLD, and
    /// [`Launch::confirmed`] is false.
    ///
    /// [`Launch::confirmed`]: crate::Launch::confirmed
    Pipe,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Suspended => "suspended",
            Engine::Isolated => "isolated",
            Engine::Copied => "copied",
            Engine::Pipe => "pipe",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which system call makes the child. `Auto` takes whatever works, the best
/// first; the others work or say why not.
///
/// See [`clone(2)`].
///
/// [`clone(2)`]: https://man7.org/linux/man-pages/man2/clone.2.html
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine, Method};
///
/// let mut child = Command::new("/bin/true").method(Method::Fork).spawn()?;
/// assert_eq!(child.launch().call(), "clone");
/// assert_eq!(child.launch().engine(), Engine::Copied);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// clone3, else clone, in shared memory wherever the options allow it.
    #[default]
    Auto,
    /// clone as fork makes it: a copy of the memory.
    Fork,
    /// clone as vfork makes it: shared memory, the caller asleep.
    Vfork,
    /// clone3 (Linux 5.3), with either memory.
    Clone3,
}

/// Whether the child may run in the parent's memory until exec.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, Engine, Memory};
///
/// let mut true_ = Command::new("/bin/true");
/// let mut child = true_.memory(Memory::Private).spawn()?;
/// assert_ne!(child.launch().engine(), Engine::Suspended);
/// child.wait()?;
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Memory {
    /// Shared where the options allow it, else private.
    #[default]
    Auto,
    /// Shared: the cost does not depend on the parent's size.
    Shared,
    /// Private: nothing that the child does before exec reaches the parent,
    /// and signals reach the caller meanwhile.
    Private,
}

/// The memory that is asked for by name, with the option that names it.
fn named(wishes: &Wishes) -> Result<Option<(Memory, Step)>, Error> {
    let by_engine = wishes.engine.map(|engine| match engine {
        Engine::Suspended => (Memory::Shared, Step::Memory),
        Engine::Isolated | Engine::Copied | Engine::Pipe => {
            (Memory::Private, Step::Memory)
        }
    });
    let by_memory = match wishes.memory {
        Memory::Auto => by_engine,
        memory => Some((memory, Step::Memory)),
    };
    let by_method = match wishes.method {
        Method::Fork => Some((Memory::Private, Step::Method)),
        Method::Vfork => Some((Memory::Shared, Step::Method)),
        Method::Auto | Method::Clone3 => None,
    };
    if let (Some((a, _)), Some((b, _))) = (by_memory, by_method) {
        if a != b {
            let why = match b {
                Memory::Shared => "Vfork shares the parent's memory",
                _ => "Fork copies the parent's memory",
            };
            return Err(Error::refused(Step::Memory, why).with("method"));
        }
    }
    Ok(by_method.or(by_memory))
}

/// The shape that wishes are launched in at first, or why there is none.
/// `here` is for steps that run in this process.
pub(super) fn choose(wishes: &Wishes, here: bool) -> Result<Shape, Error> {
    let named = named(wishes)?;
    let (private, shared) = (wishes.private(), wishes.shared());
    let refuse =
        |step, option: &str, why| Err(Error::refused(step, why).with(option));
    let engine = match (named, private, shared) {
        (_, Some(option), Some(_)) => {
            let why = "it must not share memory, and pre_exec_shared must";
            return refuse(Step::Memory, option, why);
        }
        (Some((Memory::Shared, step)), Some(option), _) => {
            let why = match option {
                "before_exec" => "the caller would sleep through it",
                _ => "it must not run in the parent's memory",
            };
            return refuse(step, option, why);
        }
        (Some((Memory::Private, step)), _, Some(option)) => {
            return refuse(step, option, "it runs in the parent's memory");
        }
        (Some((Memory::Private, _)), ..) | (None, Some(_), _) => {
            let copied = wishes.copied(here);
            let best = copied.map_or(Engine::Isolated, |_| Engine::Copied);
            match (wishes.engine.unwrap_or(best), copied) {
                (Engine::Isolated, Some(option)) => {
                    let why = match option {
                        "inherit_unlisted_fds" => {
                            "an image could take the number of one"
                        }
                        "program" => "there it would be the image itself",
                        _ => "it runs in a copy of the parent's memory",
                    };
                    return refuse(Step::Memory, option, why);
                }
                (engine, _) => engine,
            }
        }
        _ => Engine::Suspended,
    };
    let legacy = matches!(wishes.method, Method::Fork | Method::Vfork);
    let legacy = legacy || engine == Engine::Pipe;
    if legacy && !wishes.set_tid.is_empty() {
        return refuse(Step::SetTid, "method", "only clone3 has it");
    }
    ids(&wishes.set_tid, here)?;
    let maker = if legacy { Maker::Clone } else { Maker::Clone3 };
    let join = (legacy || here) && wishes.cgroup.is_some();
    let (listed, by_path, shell) = (false, false, None);
    let keeps_stops = false;
    Ok(Shape {
        engine,
        maker,
        listed,
        join,
        by_path,
        shell,
        keeps_stops,
        here,
    })
}

/// The process ids that were asked for. 32 is how deep PID namespaces go.
fn ids(all: &[i32], here: bool) -> Result<(), Error> {
    let why = match all {
        [] => return Ok(()),
        _ if here => "no process is made",
        _ if all.len() > 32 => "there are at most 32 levels of namespaces",
        _ if all.iter().any(|id| *id <= 0) => "a process id is above 0",
        _ => return Ok(()),
    };
    Err(Error::refused(Step::SetTid, why).with(format!("{all:?}")))
}

impl Wishes {
    /// An option that must not run in memory shared with the parent.
    fn private(&self) -> Option<&'static str> {
        let hook = self.hooks.iter().any(|hook| !hook.shared());
        match () {
            () if self.uid.is_some() => Some("uid"),
            () if self.gid.is_some() => Some("gid"),
            () if self.groups.changes() => Some("groups"),
            () if hook => Some("pre_exec"),
            () if !self.before.is_empty() => Some("before_exec"),
            () => None,
        }
    }

    /// What an image cannot run.
    fn copied(&self, here: bool) -> Option<&'static str> {
        match () {
            () if here => Some("exec"),
            () if self.method == Method::Fork => Some("method"),
            () if !self.hooks.is_empty() => Some("pre_exec"),
            // There it is the image.
            () if self.names_itself() => Some("program"),
            // Two numbers are an image's own, whatever is there.
            () if self.unlisted => Some("inherit_unlisted_fds"),
            () => None,
        }
    }

    /// Whether the program is the one of whoever runs it.
    fn names_itself(&self) -> bool {
        let own = ["/proc/self/exe", "/proc/thread-self/exe"];
        let is = |program: &OsString| own.iter().any(|own| program == own);
        let mut others = self.candidates.iter().flatten();
        self.image.is_none() && (is(&self.program) || others.any(is))
    }

    /// An option that asks for shared memory.
    fn shared(&self) -> Option<&'static str> {
        let hook = self.hooks.iter().any(|hook| hook.shared());
        hook.then_some("pre_exec_shared")
    }

    /// Whether another call than the planned one may serve.
    pub(crate) fn any_method(&self) -> bool {
        self.method == Method::Auto
    }

    /// Whether private memory, made in another way, may serve.
    pub(crate) fn any_engine(&self) -> bool {
        let shared = self.memory == Memory::Shared || self.shared().is_some();
        self.any_method() && self.engine.is_none() && !shared
    }
}
