//! Method: the ways of making a child, by name, and which of them serves.

use super::strategy::Strategy;
use crate::parent::command::method::{Engine, Memory, Method};
use crate::parent::command::options::Options;
use crate::parent::error::{Error, Step};
use crate::parent::std::{ffi::OsString, format};
use crate::sys::CloneCall;

/// The memory that is asked for by name, with the option that names it.
fn named(options: &Options) -> Result<Option<(Memory, Step)>, Error> {
    let by_engine = options.engine.map(|engine| match engine {
        Engine::Suspended => (Memory::Shared, Step::Memory),
        Engine::Isolated | Engine::Copied | Engine::Pipe => {
            (Memory::Private, Step::Memory)
        }
    });
    let by_memory = match options.memory {
        Memory::Auto => by_engine,
        memory => Some((memory, Step::Memory)),
    };
    let by_method = match options.method {
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
/// `in_place` is for steps that run in this process.
pub(super) fn choose(
    options: &Options,
    in_place: bool,
) -> Result<Strategy, Error> {
    let named = named(options)?;
    let (private, shared) = (options.private(), options.shared());
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
            let copied = options.copied(in_place);
            let best = copied.map_or(Engine::Isolated, |_| Engine::Copied);
            match (options.engine.unwrap_or(best), copied) {
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
    let legacy = matches!(options.method, Method::Fork | Method::Vfork);
    let legacy = legacy || engine == Engine::Pipe;
    if legacy && !options.set_tid.is_empty() {
        return refuse(Step::SetTid, "method", "only clone3 has it");
    }
    ids(&options.set_tid, in_place)?;
    let clone_call = if legacy { CloneCall::Clone } else { CloneCall::Clone3 };
    let joins_cgroup = (legacy || in_place) && options.cgroup.is_some();
    Ok(Strategy {
        engine,
        clone_call,
        no_close_range: false,
        joins_cgroup,
        no_execveat: false,
        shell: None,
        keeps_stops: false,
        in_place,
    })
}

/// The process ids that were asked for. 32 is how deep PID namespaces go.
fn ids(all: &[i32], in_place: bool) -> Result<(), Error> {
    let why = match all {
        [] => return Ok(()),
        _ if in_place => "no process is made",
        _ if all.len() > 32 => "there are at most 32 levels of namespaces",
        _ if all.iter().any(|id| *id <= 0) => "a process id is above 0",
        _ => return Ok(()),
    };
    Err(Error::refused(Step::SetTid, why).with(format!("{all:?}")))
}

impl Options {
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
    fn copied(&self, in_place: bool) -> Option<&'static str> {
        match () {
            () if in_place => Some("exec"),
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
