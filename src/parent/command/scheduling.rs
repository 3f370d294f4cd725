//! `Scheduler`, `IoPriority` and `NumaPolicy`: how a process gets CPU time,
//! disk time and memory.

use crate::parent::std::{time::Duration, vec::Vec};

/// A scheduling policy ([`sched(7)`]).
///
/// [`sched(7)`]: https://man7.org/linux/man-pages/man7/sched.7.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheduler {
    /// `SCHED_OTHER`: time sharing by the nice value.
    Other,
    /// `SCHED_BATCH`: as `Other`, for programs that are not interactive.
    Batch,
    /// `SCHED_IDLE`: less than any nice value.
    Idle,
    /// `SCHED_FIFO` with a priority from 1 to 99: runs until it blocks.
    Fifo(u8),
    /// `SCHED_RR` with a priority from 1 to 99: takes turns with its equals.
    RoundRobin(u8),
    /// `SCHED_DEADLINE`: `runtime` of CPU time in each `period`, before the
    /// `deadline` that begins with the period. Rounded down to nanoseconds;
    /// each is at least 1,024 ns, and runtime <= deadline <= period.
    Deadline {
        /// The CPU time in each period.
        runtime: Duration,
        /// When the CPU time is over, from the start of the period.
        deadline: Duration,
        /// The length of a period.
        period: Duration,
    },
}

/// A priority for disk access ([`ioprio_set(2)`]).
///
/// [`ioprio_set(2)`]: https://man7.org/linux/man-pages/man2/ioprio_set.2.html
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoPriority {
    /// First access, with a level from 0 (the highest) to 7.
    RealTime(u8),
    /// The usual class, with a level from 0 (the highest) to 7.
    BestEffort(u8),
    /// Access only while the disk is otherwise idle.
    Idle,
}

/// From which NUMA nodes memory is allocated ([`set_mempolicy(2)`]).
///
/// [`set_mempolicy(2)`]: https://man7.org/linux/man-pages/man2/set_mempolicy.2.html
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NumaPolicy {
    /// The system's default: the node of the CPU.
    Default,
    /// The node of the CPU, whatever the default is (Linux 3.8).
    Local,
    /// This node if it has memory, otherwise others.
    Preferred(u32),
    /// These nodes only.
    Bind(Vec<u32>),
    /// These nodes in turn, page by page.
    Interleave(Vec<u32>),
}
