//! Shape: how a plan is launched, and which of its steps that leaves.

use super::Plan;
use super::method::Engine;
use crate::op::{Op, Role};
use crate::sys::{CloneFlags, Maker};

/// The ways that a launch can differ while the wishes stay the same. A plan
/// is compiled for the best; where the kernel or a filter refuses that, the
/// same plan is lowered again for a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) engine: Engine,
    pub(crate) maker: Maker,
    /// No `close_range`: open descriptors are listed, and closed one by one.
    pub(crate) listed: bool,
    /// The control group is entered by a write of the child's.
    pub(crate) join: bool,
    /// No `execveat`: a descriptor is run by its path in `/proc`.
    pub(crate) by_path: bool,
    /// The place of the candidate that a shell runs, in its own stead.
    pub(crate) shell: Option<u16>,
    /// No `rt_sigtimedwait`: stops that are pending stay so.
    pub(crate) keeps_stops: bool,
    /// No child at all: the steps run in this process.
    pub(crate) here: bool,
}

impl Shape {
    /// Whether a step of the plan is one of this shape's.
    fn has(self, n: usize, op: Op) -> bool {
        match op {
            Op::BlockSigsys => self.maker == Maker::Clone && !self.here,
            Op::Watch => self.engine == Engine::Copied && !self.here,
            // Exec resets them; until the last one all signals are blocked.
            Op::ClearHandlers => {
                let reset = self.engine == Engine::Isolated || self.here;
                self.maker == Maker::Clone && !reset
            }
            Op::Lend | Op::Enter | Op::Arrive | Op::Name => {
                self.engine == Engine::Isolated
            }
            Op::JoinCgroup => self.join,
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
        shape: Shape,
    ) -> impl Iterator<Item = (usize, Op)> {
        let keeps = self.keeps(shape);
        let runs = move |n, op| match op {
            Op::CloseGaps => keeps,
            op => shape.has(n, op),
        };
        let all = self.ops.iter().copied().enumerate();
        all.filter(move |(n, op)| runs(*n, *op))
    }

    /// Whether the child begins in the parent's own table of descriptors,
    /// which its first row makes its own.
    pub(crate) fn shares(&self, shape: Shape) -> bool {
        let sleeps =
            matches!(shape.engine, Engine::Suspended | Engine::Isolated);
        let whole = self.ops.contains(&Op::CloseRange);
        sleeps && whole && !shape.listed && !shape.here
    }

    /// Whether the child takes the stops that are pending, lest they hold a
    /// caller that sleeps until exec. After setsid its group is an orphan,
    /// which the kernel stops by SIGSTOP only.
    pub(crate) fn takes_stops(&self, shape: Shape) -> bool {
        let sleeps = shape.engine == Engine::Suspended && !shape.here;
        sleeps && !shape.keeps_stops && !self.ops.contains(&Op::Setsid)
    }

    /// Whether an image of this plan may exec in a second thread. Not where
    /// the parent has done something to the first: a tracer and a counter of
    /// events (`perf_event_open`) stay with that one, and the policies
    /// `SCHED_DEADLINE` and `SCHED_RESET_ON_FORK` are not given to a second.
    pub(crate) fn execs_apart(&self) -> bool {
        self.before.is_empty()
    }

    /// Whether any step needs a descriptor above 2 of the parent's.
    pub(crate) fn keeps(&self, shape: Shape) -> bool {
        let own = matches!(shape.engine, Engine::Pipe | Engine::Isolated);
        let held =
            (own && !shape.here) || shape.join || !self.given.is_empty();
        held || self.ops.iter().copied().any(Op::is_fresh)
    }

    /// What the call is given.
    pub(crate) fn flags(&self, shape: Shape) -> CloneFlags {
        let mut flags = match shape.engine {
            Engine::Suspended | Engine::Isolated => CloneFlags::SUSPENDED,
            Engine::Copied => CloneFlags::COPIED,
            Engine::Pipe => CloneFlags::empty(),
        };
        if self.shares(shape) {
            flags |= CloneFlags::FILES;
        }
        if self.cgroup.is_some() && !shape.join {
            flags |= CloneFlags::INTO_CGROUP;
        }
        flags.within(shape.maker)
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
