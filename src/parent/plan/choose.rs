//! Choose: the strategy that a plan is launched with first, from what its
//! steps need and what was asked for by name.

use super::needs::{Need, Needs};
use super::strategy::Strategy;
use crate::parent::command::{Engine, Memory, Method, Options};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::format;
use crate::sys::CloneCall;

/// The memory that is asked for by name, with the option that names it.
fn named(options: &Options) -> Result<Option<(Memory, Step)>, Error> {
    use Memory::{Private, Shared};
    let engine = options.launch.engine.map(|engine| match engine {
        Engine::Suspended | Engine::Concurrent => Shared,
        Engine::Isolated | Engine::Copied | Engine::Pipe => Private,
    });
    let memory = Some(options.launch.memory).filter(|m| *m != Memory::Auto);
    let (method, why) = match options.launch.method {
        Method::Fork => (Some(Private), "Fork copies the parent's memory"),
        Method::Vfork => (Some(Shared), "Vfork shares the parent's memory"),
        Method::Auto | Method::Clone3 => (None, ""),
    };
    let differ = |a: Option<Memory>, b| a.is_some_and(|a| b != Some(a));
    let by_memory = memory.or(engine);
    for (other, option, why) in [
        (method, "method", why),
        (engine, "engine", "that engine has the other kind"),
    ] {
        if other.is_some() && differ(by_memory, other) {
            return Err(Error::refused(Step::Memory, why).with(option));
        }
    }
    let by_method = method.map(|memory| (memory, Step::Method));
    Ok(by_method.or(by_memory.map(|memory| (memory, Step::Memory))))
}

/// The strategy to launch with first, or the options that exclude each other.
pub(crate) fn choose(
    options: &Options,
    needs: &Needs,
    in_place: bool,
) -> Result<Strategy, Error> {
    let engine = engine(options, needs, in_place)?;
    let legacy = matches!(options.launch.method, Method::Fork | Method::Vfork);
    let legacy = legacy || engine == Engine::Pipe;
    if legacy && !options.launch.set_tid.is_empty() {
        let error = Error::refused(Step::SetTid, "only clone3 has it");
        return Err(error.with("method"));
    }
    ids(&options.launch.set_tid, in_place)?;
    let clone_call = if legacy { CloneCall::Clone } else { CloneCall::Clone3 };
    let launch = &options.launch;
    let has_cgroup = launch.cgroup.is_some() || launch.own_cgroup.is_some();
    let joins_cgroup = (legacy || in_place) && has_cgroup;
    let strategy = Strategy::suspended(in_place);
    Ok(Strategy { engine, clone_call, joins_cgroup, ..strategy })
}

fn engine(
    options: &Options,
    needs: &Needs,
    in_place: bool,
) -> Result<Engine, Error> {
    let named = named(options)?;
    let refuse = |step, need: Need| {
        Err(Error::refused(step, need.why).with(need.option))
    };
    match (named, needs.private, needs.shared) {
        (_, Some(private), Some(shared)) => {
            let error =
                Error::new(Step::Memory, Cause::Conflict(shared.option));
            Err(error.with(private.option))
        }
        (Some((Memory::Shared, step)), Some(need), _)
        | (Some((Memory::Private, step)), _, Some(need)) => refuse(step, need),
        (Some((Memory::Private, _)), ..) | (None, Some(_), _) => {
            let copy = copy(options, needs, in_place);
            let best = copy.map_or(Engine::Isolated, |_| Engine::Copied);
            match (options.launch.engine.unwrap_or(best), copy) {
                (Engine::Isolated, Some(need)) => refuse(Step::Memory, need),
                (engine, _) => Ok(engine),
            }
        }
        _ if options.launch.engine != Some(Engine::Concurrent) => {
            Ok(Engine::Suspended)
        }
        _ => match beside(options, needs) {
            Some(need) => refuse(Step::Memory, need),
            None => Ok(Engine::Concurrent),
        },
    }
}

/// Why a child that shares memory cannot start while its caller runs on.
pub(crate) fn beside(options: &Options, needs: &Needs) -> Option<Need> {
    let launch = &options.launch;
    let need = |option, why| Some(Need { option, why });
    let why = "a child of the engine concurrent stays in its caller's group";
    if launch.method == Method::Vfork {
        return need("method", "vfork suspends the caller");
    }
    for (group, option) in
        [(&launch.cgroup, "cgroup"), (&launch.own_cgroup, "own_cgroup")]
    {
        if group.is_some() {
            return need(option, why);
        }
    }
    needs.shared.or(needs.suspended)
}

/// Why the helper image cannot run the plan.
fn copy(options: &Options, needs: &Needs, in_place: bool) -> Option<Need> {
    let why = "it runs in a copy of the parent's memory";
    let need = |option| Some(Need { option, why });
    match options.launch.method {
        _ if in_place => need("exec"),
        Method::Fork => need("method"),
        _ => needs.copy,
    }
}

/// The process ids that were asked for. 32 is how deep PID namespaces go.
fn ids(all: &[i32], in_place: bool) -> Result<(), Error> {
    let why = match all {
        [] => return Ok(()),
        _ if in_place => "exec creates no process",
        _ if all.len() > 32 => {
            "more than 32 ids: PID namespaces are at most 32 deep"
        }
        _ if all.iter().any(|id| *id <= 0) => "a process id is above 0",
        _ => return Ok(()),
    };
    Err(Error::refused(Step::SetTid, why).with(format!("{all:?}")))
}

/// Whether another call than the planned one may serve.
pub(crate) fn any_method(options: &Options) -> bool {
    options.launch.method == Method::Auto
}

/// Whether private memory, made in another way, may serve.
pub(crate) fn any_engine(options: &Options, needs: &Needs) -> bool {
    let shared =
        options.launch.memory == Memory::Shared || needs.shared.is_some();
    any_method(options) && options.launch.engine.is_none() && !shared
}
