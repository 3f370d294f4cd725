//! Steps: which steps of a plan a strategy runs, and what follows from them.

use super::Plan;
use super::op::{FdSource, Op};
use super::step::{Effect, StepRecord};
use super::strategy::Strategy;
use crate::parent::command::Engine;
use crate::sys::CloneFlags;

impl Plan {
    /// The steps that a strategy runs, each with its index in the plan.
    pub(crate) fn steps(
        &self,
        strategy: Strategy,
    ) -> impl Iterator<Item = (usize, &StepRecord)> {
        let keeps = self.keeps(strategy);
        let runs = move |n: usize, record: &StepRecord| match record.op() {
            Some(Op::CloseGaps) => keeps,
            // Only the candidate that the shell runs.
            Some(Op::Exec(_)) => {
                strategy.shell.is_none_or(|it| usize::from(it) == n)
            }
            _ => (record.runs)(strategy),
        };
        let all = self.steps.iter().enumerate();
        all.filter(move |(n, record)| runs(*n, record))
    }

    pub(crate) fn ops(&self) -> impl Iterator<Item = Op> {
        self.steps.iter().filter_map(StepRecord::op)
    }

    pub(crate) fn has(&self, op: Op) -> bool {
        self.ops().any(|own| own == op)
    }

    /// What the steps change, in their order, but for those that may fail.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Effect> {
        let effect = |step: &StepRecord| match step.optional {
            true => Effect::None,
            false => step.effect,
        };
        self.steps.iter().map(effect)
    }

    /// The names of the steps that its strategy runs, as the order table has
    /// them: for tests.
    #[doc(hidden)]
    pub fn step_names(&self) -> impl Iterator<Item = &'static str> {
        self.steps(self.strategy).map(|(_, record)| record.name)
    }

    /// How many candidates stand before this step.
    pub(crate) fn nth_candidate(&self, step: usize) -> usize {
        let before = self.steps.iter().take(step);
        let exec = |op| matches!(op, Op::Exec(_));
        before.filter_map(StepRecord::op).filter(|op| exec(*op)).count()
    }

    /// Whether the child is cloned with the parent's descriptor table, and its
    /// first row unshares it.
    pub(crate) fn shares(&self, strategy: Strategy) -> bool {
        // The caller of `Concurrent` waits before it closes any.
        let waits = matches!(
            strategy.engine,
            Engine::Suspended | Engine::Isolated | Engine::Concurrent
        );
        let whole = self.has(Op::CloseRange);
        waits && whole && !strategy.no_close_range && !strategy.in_place
    }

    /// Whether the child takes pending stop signals, which would suspend a
    /// caller that sleeps until exec. After setsid its process group is
    /// orphaned, which only SIGSTOP stops.
    pub(crate) fn takes_stops(&self, strategy: Strategy) -> bool {
        let sleeps =
            strategy.engine == Engine::Suspended && !strategy.in_place;
        sleeps
            && !strategy.leaves_stops_pending
            && !self.effects().any(|effect| effect == Effect::Session)
    }

    /// Whether the helper image may exec in a second thread. Not after parent
    /// hooks, which may have changed the first thread: a tracer, an event
    /// counter (`perf_event_open`) and the policies `SCHED_DEADLINE` and
    /// `SCHED_RESET_ON_FORK` do not pass to a second one. Not with a listener,
    /// of which each thread would need its own.
    pub(crate) fn may_exec_in_thread(&self) -> bool {
        let mut all = self.steps.iter();
        self.parent_hooks.is_empty()
            && !self.listener
            && !self.traced
            && self.raw.is_empty()
            && !all.any(|record| record.effect == Effect::ThreadOnly)
    }

    /// Whether any step reads from a descriptor of the parent's above 2.
    pub(crate) fn keeps(&self, strategy: Strategy) -> bool {
        let own = matches!(strategy.engine, Engine::Pipe | Engine::Isolated);
        let held = (own && !strategy.in_place)
            || strategy.joins_cgroup
            || !self.source_fds.is_empty();
        held || self.ops().any(Op::is_fresh)
    }

    /// The flags that options mean, whatever the engine.
    pub(crate) fn own_flags(&self) -> CloneFlags {
        self.end_flags | self.namespaces
    }

    /// The flags of the clone call.
    pub(crate) fn flags(&self, strategy: Strategy) -> CloneFlags {
        let mut flags = match strategy.engine {
            Engine::Suspended | Engine::Isolated => CloneFlags::SUSPENDED,
            Engine::Concurrent => CloneFlags::CONCURRENT,
            Engine::Copied => CloneFlags::COPIED,
            Engine::Pipe => CloneFlags::empty(),
        };
        if self.shares(strategy) {
            flags |= CloneFlags::FILES;
        }
        if self.cgroup.is_some() && !strategy.joins_cgroup {
            flags |= CloneFlags::INTO_CGROUP;
        }
        flags |= self.parentage.flags() | self.own_flags();
        flags.within(strategy.clone_call)
    }
}

impl Op {
    /// Whether the parent makes a descriptor for this step in every launch.
    fn is_fresh(self) -> bool {
        use FdSource::{Null, Path, Pipe};
        matches!(self, Op::Dup { source: Null | Pipe | Path(_), .. })
    }
}
