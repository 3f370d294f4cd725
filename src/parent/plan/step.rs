//! `StepRecord`: one step of the child, recorded once. What the plan shows,
//! what an error names and which rows run are read from here.

use core::fmt;

use super::op::{Op, Str};
use super::strategy::Strategy;
use crate::parent::command::{Personality, Securebits, SignalSet};
use crate::parent::error::Step;
use crate::parent::std::time::Duration;

/// What a step is about. Plain values: they are formatted only when a plan
/// is shown or the step has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    None,
    /// Shown in a plan; an error does not repeat it.
    Label(&'static str),
    /// The kernel's name of a value.
    Name(&'static str),
    /// A string of the string table.
    Text(Str),
    /// One of 0 to 2, which an error names by its option.
    Stdio(u8),
    Number(i64),
    Octal(u32),
    /// Numbers of 32 bits in the string table.
    Ids(Str),
    /// A source descriptor, by its index in the plan.
    Fd(u16),
    /// The control group of the plan.
    Cgroup,
    EmptyList,
    /// A filter program of so many instructions.
    Filter(u16),
    Signals(SignalSet),
}

/// A value of a step that a plan shows behind the operand; an error does not
/// repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    None,
    Number(i64),
    /// The number that a descriptor gets.
    Target(i32),
    /// A soft and a hard limit.
    Limits(u64, u64),
    /// Runtime, deadline and period.
    Times([Duration; 3]),
    Personality(Personality),
    Securebits(Securebits),
    /// So many rules.
    Rules(usize),
}

/// What a step leaves changed, for steps and diagnosis that depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// The calling thread's only: a second thread does not inherit it.
    ThreadOnly,
    /// The child leads a session.
    Session,
    /// A process group: its own for 0.
    Group(u32),
    Root(Str),
    Dir(Str),
    /// The directory that a source descriptor is open on.
    DirFd(u16),
    /// Supplementary groups: none, or a list.
    NoGroups,
    Groups(Str),
    /// The permitted capabilities.
    Capabilities(u64),
    Gid(u32),
    Uid(u32),
}

/// What a step makes of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The same in every strategy: so many rows of the plan, from an index.
    Fixed { from: u16, count: u16 },
    /// Depend on the strategy, and are made when it is known.
    Lowered(Op),
}

/// What errnos of a step mean, where more is known than their name.
pub(crate) type Reasons = &'static [(i32, &'static str)];

/// One step.
#[derive(Clone, Copy)]
pub(crate) struct StepRecord {
    /// Its row of the order table.
    pub(crate) name: &'static str,
    /// What an error of it is called.
    pub(crate) step: Step,
    pub(crate) operand: Operand,
    pub(crate) detail: Detail,
    /// The system call that a plan shows, and what for.
    pub(crate) call: &'static str,
    pub(crate) note: &'static str,
    pub(crate) rows: Rows,
    pub(crate) effect: Effect,
    pub(crate) reasons: Reasons,
    /// Which strategies run it.
    pub(crate) runs: fn(Strategy) -> bool,
    /// Whether the child continues if it fails.
    pub(crate) optional: bool,
}

impl StepRecord {
    pub(crate) fn op(&self) -> Option<Op> {
        match self.rows {
            Rows::Lowered(op) => Some(op),
            Rows::Fixed { .. } => None,
        }
    }
}

impl fmt::Debug for StepRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", self.name, self.operand)
    }
}
