//! Beside: children that one thread makes without waiting for each, by the
//! engine concurrent.
//!
//! All that another attempt, another engine or a pause might mend is left to
//! the usual spawn, which begins anew. So only plans are run whose steps may be
//! repeated.

use super::attempt::{Attempt, Failure};
use super::launch_loop::{Inputs, Ready};
use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use crate::launch::Outcome;
use crate::launch::concurrent::{Beside, launch_all};
use crate::parent::command::{Engine, ParentHooks};
use crate::parent::error::Error;
use crate::parent::handle::{Child, reap_dropped};
use crate::parent::plan::Parentage;
use crate::parent::std::{mem, vec::Vec};
use crate::parent::support;
use crate::sys::CloneCall;

/// How many children share the caller's memory at once: the descriptors of all
/// are open until the last has exec'd.
const MOST: usize = 32;

/// A command, by its index.
pub(super) type Nth<'a> = (usize, &'a Prepared);

impl Attempt {
    /// Lets the caller run on, where that is possible.
    fn run_beside(&mut self) -> bool {
        let strategy = &mut self.strategy;
        let can = strategy.clone_call == CloneCall::Clone3
            && !strategy.no_close_range;
        match strategy.engine {
            Engine::Suspended if can => strategy.engine = Engine::Concurrent,
            Engine::Concurrent => {}
            _ => return false,
        }
        can
    }
}

impl Prepared {
    /// Whether its child may be made beside others, and made anew after a
    /// failure.
    fn may_run_beside(&self) -> bool {
        let plan = &self.plan;
        let named = plan.strategy.engine == Engine::Concurrent;
        plan.beside
            && (plan.any_engine || named)
            // Opening a file may truncate or create it, or wait.
            && plan.opened.is_empty()
            && plan.parent_death.is_none()
            && plan.death_signal.is_none()
            && !plan.listens
            && !plan.takes_clone3()
            && plan.retry_again.is_zero()
    }
}

/// Starts those of `commands` that can be, and removes them; returns their
/// children and final errors.
pub(super) fn start_beside(
    commands: &mut Vec<Nth<'_>>,
) -> Vec<(usize, Result<Child, Error>)> {
    let mut done = Vec::new();
    let fit = |command: &&Nth<'_>| command.1.may_run_beside();
    if commands.iter().filter(fit).count() < 2 || is_excluded() {
        return done;
    }
    reap_dropped();
    let mut left = Vec::new();
    for chunk in mem::take(commands).chunks(MOST) {
        start_chunk(chunk, &mut done, &mut left);
    }
    *commands = left;
    done
}

/// Whether something keeps the caller from running on: a debugger takes a child
/// that shares its memory for a thread, and valgrind knows no such clone; the
/// first child in a PID namespace is its init, after which there is no other
/// attempt.
fn is_excluded() -> bool {
    support::is_traced()
        || support::is_under_valgrind()
        || support::next_is_init()
}

/// What a launch borrows.
struct Parts<'a> {
    nth: Nth<'a>,
    pipes: StdioPipes,
    attempt: Attempt,
}

impl<'a> Parts<'a> {
    fn new(nth: Nth<'a>) -> Option<Parts<'a>> {
        let prepared = nth.1;
        if !prepared.may_run_beside() {
            return None;
        }
        prepared.check_fd_table().ok()?;
        let pipes = StdioPipes::new(&prepared.plan, &prepared.source_fds);
        let mut attempt =
            Attempt::first(prepared, None, true, Parentage::Child);
        attempt.run_beside().then_some(())?;
        Some(Parts { nth, pipes: pipes.ok()?, attempt })
    }
}

fn start_chunk<'a>(
    chunk: &[Nth<'a>],
    done: &mut Vec<(usize, Result<Child, Error>)>,
    left: &mut Vec<Nth<'a>>,
) {
    let mut parts = Vec::with_capacity(chunk.len());
    for nth in chunk {
        match Parts::new(*nth) {
            Some(part) => parts.push(part),
            None => left.push(*nth),
        }
    }
    let started = launch(&mut parts);
    for (part, started) in parts.into_iter().zip(started) {
        let Parts { nth, pipes, .. } = part;
        match started {
            Some(Ok(started)) => {
                done.push((nth.0, Ok(pipes.into_child(started, None))));
            }
            Some(Err(error)) => done.push((nth.0, Err(error))),
            None => left.push(nth),
        }
    }
}

/// Returns what each has led to; `None`: it is left to the usual spawn.
fn launch(
    parts: &mut [Parts<'_>],
) -> Vec<Option<Result<super::launch_loop::Started, Error>>> {
    let parent_hooks = &ParentHooks::new(&[]);
    let mut launches = Vec::with_capacity(parts.len());
    for Parts { nth, pipes, attempt } in parts {
        let inputs = Inputs::plain(pipes, parent_hooks);
        let ready = nth.1.begin(attempt, &inputs);
        launches.push((nth.1, attempt, inputs, ready));
    }
    let mut blocks = Vec::with_capacity(launches.len());
    let mut besides = Vec::with_capacity(launches.len());
    for (_, attempt, inputs, ready) in &launches {
        if let Ok(ready) = ready {
            blocks.push(ready.block(attempt, inputs));
            besides.push(Beside::new(&ready.table, ready.args));
        }
    }
    launch_all(&mut besides, &mut blocks);
    let outcomes: Vec<_> = besides.iter().map(Beside::outcome).collect();
    let mut outcomes = outcomes.into_iter().zip(blocks);
    let end = |(prepared, attempt, inputs, ready): (
        &Prepared,
        &mut Attempt,
        Inputs<'_>,
        Result<Ready<'_>, Failure>,
    )| {
        let ready = ready.ok()?;
        let (outcome, block) = outcomes.next()?;
        // Another call, a pause, or fewer descriptors may help.
        if let Outcome::Rejected(_) = outcome {
            return None;
        }
        match prepared.finish(attempt, &inputs, ready, &block, outcome) {
            Ok(started) => Some(Ok(started)),
            Err(Failure::Final(error)) => Some(Err(error)),
            Err(Failure::Retry(..)) => None,
        }
    };
    launches.into_iter().map(end).collect()
}
