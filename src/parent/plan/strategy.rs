//! Shape: how a plan is launched, and which of its steps that leaves.

use super::Plan;
use crate::parent::command::method::Engine;
use crate::parent::plan::op::{Op, Role};
use crate::sys::{CloneCall, CloneFlags};

/// The ways that a launch can differ while the wishes stay the same. A plan
/// is compiled for the best; where the kernel or a filter refuses that, the
/// same plan is lowered again for a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strategy {
    pub(crate) engine: Engine,
    pub(crate) clone_call: CloneCall,
    /// No `close_range`: open descriptors are listed, and closed one by one.
    pub(crate) no_close_range: bool,
    /// The control group is entered by a write of the child's.
    pub(crate) joins_cgroup: bool,
    /// No `execveat`: a descriptor is run by its path in `/proc`.
    pub(crate) no_execveat: bool,
    /// The place of the candidate that a shell runs, in its own stead.
    pub(crate) shell: Option<u16>,
    /// No `rt_sigtimedwait`: stops that are pending stay so.
    pub(crate) keeps_stops: bool,
    /// No child at all: the steps run in this process.
    pub(crate) in_place: bool,
}

impl Strategy {
    /// Whether a step of the plan is one of this shape's.
    fn has(self, n: usize, op: Op) -> bool {
        match op {
            Op::BlockSigsys => {
                self.clone_call == CloneCall::Clone && !self.in_place
            }
            Op::RobustList => self.engine == Engine::Copied && !self.in_place,
            // Exec resets them; until the last one all signals are blocked.
            Op::ClearHandlers => {
                let reset = self.engine == Engine::Isolated || self.in_place;
                self.clone_call == CloneCall::Clone && !reset
            }
            Op::PassHelperFds
            | Op::ExecHelper
            | Op::HelperInit
            | Op::MarkHelper => self.engine == Engine::Isolated,
            Op::JoinCgroup => self.joins_cgroup,
            // The candidates before it were not to be had, and those after
            // it do not count.
            Op::Exec(_) => self.shell.is_none_or(|it| usize::from(it) == n),
            _ => true,
        }
    }
}

impl Plan {
    /// The steps of a shape, each with its place in the plan.
    pub(crate) fn steps(
        &self,
        strategy: Strategy,
    ) -> impl Iterator<Item = (usize, Op)> {
        let keeps = self.keeps(strategy);
        let runs = move |n, op| match op {
            Op::CloseGaps => keeps,
            op => strategy.has(n, op),
        };
        let all = self.ops.iter().copied().enumerate();
        all.filter(move |(n, op)| runs(*n, *op))
    }

    /// Whether the child begins in the parent's own table of descriptors,
    /// which its first row makes its own.
    pub(crate) fn shares(&self, strategy: Strategy) -> bool {
        let sleeps =
            matches!(strategy.engine, Engine::Suspended | Engine::Isolated);
        let whole = self.ops.contains(&Op::CloseRange);
        sleeps && whole && !strategy.no_close_range && !strategy.in_place
    }

    /// Whether the child takes the stops that are pending, lest they hold a
    /// caller that sleeps until exec. After setsid its group is an orphan,
    /// which the kernel stops by SIGSTOP only.
    pub(crate) fn takes_stops(&self, strategy: Strategy) -> bool {
        let sleeps =
            strategy.engine == Engine::Suspended && !strategy.in_place;
        sleeps && !strategy.keeps_stops && !self.ops.contains(&Op::Setsid)
    }

    /// Whether an image of this plan may exec in a second thread. Not where
    /// the parent has done something to the first: a tracer and a counter of
    /// events (`perf_event_open`) stay with that one, and the policies
    /// `SCHED_DEADLINE` and `SCHED_RESET_ON_FORK` are not given to a second.
    pub(crate) fn execs_apart(&self) -> bool {
        self.before.is_empty()
    }

    /// Whether any step needs a descriptor above 2 of the parent's.
    pub(crate) fn keeps(&self, strategy: Strategy) -> bool {
        let own = matches!(strategy.engine, Engine::Pipe | Engine::Isolated);
        let held = (own && !strategy.in_place)
            || strategy.joins_cgroup
            || !self.given.is_empty();
        held || self.ops.iter().copied().any(Op::is_fresh)
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
