//! Steps: which steps of a plan a strategy runs, and what follows from them.

use super::Plan;
use super::op::{Op, Role};
use super::step::{Effect, StepRecord};
use super::strategy::Strategy;
use crate::parent::command::method::Engine;
use crate::sys::CloneFlags;

impl Plan {
    /// The steps of a strategy, each with its place in the plan.
    pub(crate) fn steps(
        &self,
        strategy: Strategy,
    ) -> impl Iterator<Item = (usize, &StepRecord)> {
        let keeps = self.keeps(strategy);
        let runs = move |n: usize, record: &StepRecord| match record.op() {
            Some(Op::CloseGaps) => keeps,
            // Of the files only the one that a shell runs.
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

    /// What the steps leave changed, in their order.
    pub(crate) fn effects(&self) -> impl Iterator<Item = Effect> {
        self.steps.iter().map(|record| record.effect)
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

    /// Whether the child begins in the parent's own table of descriptors,
    /// which its first row makes its own.
    pub(crate) fn shares(&self, strategy: Strategy) -> bool {
        let sleeps =
            matches!(strategy.engine, Engine::Suspended | Engine::Isolated);
        let whole = self.has(Op::CloseRange);
        sleeps && whole && !strategy.no_close_range && !strategy.in_place
    }

    /// Whether the child takes the stops that are pending, lest they hold a
    /// caller that sleeps until exec. After setsid its group is an orphan,
    /// which the kernel stops by SIGSTOP only.
    pub(crate) fn takes_stops(&self, strategy: Strategy) -> bool {
        let sleeps =
            strategy.engine == Engine::Suspended && !strategy.in_place;
        sleeps && !strategy.keeps_stops && !self.leads_session()
    }

    fn leads_session(&self) -> bool {
        self.effects().any(|effect| effect == Effect::Session)
    }

    /// Whether the helper of this plan may exec in a second thread. Not where
    /// the parent has done something to the first: a tracer and a counter of
    /// events (`perf_event_open`) stay with that one, and the policies
    /// `SCHED_DEADLINE` and `SCHED_RESET_ON_FORK` are not given to a second.
    pub(crate) fn execs_apart(&self) -> bool {
        self.parent_hooks.is_empty()
    }

    /// Whether any step needs a descriptor above 2 of the parent's.
    pub(crate) fn keeps(&self, strategy: Strategy) -> bool {
        let own = matches!(strategy.engine, Engine::Pipe | Engine::Isolated);
        let held = (own && !strategy.in_place)
            || strategy.joins_cgroup
            || !self.source_fds.is_empty();
        held || self.ops().any(Op::is_fresh)
    }

    /// What the call is given.
    pub(crate) fn flags(&self, strategy: Strategy) -> CloneFlags {
        let mut flags = match strategy.engine {
            Engine::Suspended | Engine::Isolated => CloneFlags::SUSPENDED,
            Engine::Copied => CloneFlags::COPIED,
            Engine::Pipe => CloneFlags::empty(),
        };
        if self.shares(strategy) {
            flags |= CloneFlags::FILES;
        }
        if self.cgroup.is_some() && !strategy.joins_cgroup {
            flags |= CloneFlags::INTO_CGROUP;
        }
        flags.within(strategy.clone_call)
    }
}

impl Op {
    /// Whether this step needs a descriptor that the parent made for it.
    fn is_fresh(self) -> bool {
        let fresh =
            |role| matches!(role, Role::Null | Role::Pipe | Role::Path(_));
        matches!(self, Op::Dup { role, .. } if fresh(role))
    }
}
