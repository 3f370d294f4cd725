//! `Op`: a step whose rows depend on the strategy.

/// A string in the plan's text: where it starts and how long it is, without
/// the NUL that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Str {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What a descriptor of the child's is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FdSource {
    /// `/dev/null`.
    Null,
    /// A fresh pipe each launch.
    Pipe,
    /// A path that is opened each launch.
    Path(Str),
    /// A descriptor of the caller, by its index in `Plan::source_fds`.
    Fd(u16),
    /// Another standard descriptor of the child, by its number.
    SameAs(u8),
}

/// A step whose rows are made when the strategy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    RobustList,
    CloseRange,
    MarkRange,
    /// `to` becomes a copy of the source and survives exec.
    Dup {
        to: u32,
        source: FdSource,
    },
    Close {
        to: u8,
    },
    PassHelperFds,
    CloseGaps,
    ExecHelper,
    HelperInit,
    ClearHandlers,
    Gate,
    /// A function of the user's, by its index in the plan.
    Hook(u16),
    /// Confines the process by a ruleset, a source descriptor by its index in
    /// the plan.
    Landlock {
        fd: u16,
        flags: u32,
    },
    MarkHelper,
    SignalMask,
    /// `execve` of a path; if nothing is there, the next is tried.
    Exec(Str),
    /// `execveat` of a source descriptor, by its index in the plan.
    ExecFd(u16),
}
