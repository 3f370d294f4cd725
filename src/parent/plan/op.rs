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
pub(crate) enum Role {
    /// `/dev/null`.
    Null,
    /// A fresh pipe each launch.
    Pipe,
    /// A path that is opened each launch.
    Path(Str),
    /// A descriptor of the caller, by its index in `Plan::source_fds`.
    SourceFd(u16),
    /// Another standard descriptor of the child, by its number.
    SameAs(u8),
}

/// A step whose rows depend on the strategy: they are made when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `set_robust_list`: the kernel wakes the parent at exec or at death.
    RobustList,
    /// `close_range` above all that later steps need: from 3, or from above
    /// the descriptors that the parent made for them.
    CloseRange,
    /// `close_range` from 3 up, close-on-exec: what is open stays so until
    /// exec, for functions that use it.
    MarkRange,
    /// `dup3(source, to, 0)`: `to` becomes the source and survives exec.
    /// `fcntl(to, F_SETFD, 0)` where it is its own source.
    Dup { to: u32, role: Role },
    /// `close(to)`.
    Close { to: u8 },
    /// `dup3` of the helper image and of the status page to fixed numbers;
    /// descriptors that are kept until the last exec stay open over the first.
    PassHelperFds,
    /// `close_range` of each gap between what the child has or still needs,
    /// from 3 up to where the first one began.
    CloseGaps,
    /// `execveat` of the helper image, which runs the rest.
    ExecHelper,
    /// The first steps of the helper image: `set_robust_list`, so that the
    /// kernel wakes the parent at exec or at death; its status page and the
    /// descriptors kept until exec are closed at the next exec; its
    /// capabilities are what the parent's were.
    HelperInit,
    /// `sigaction` of every signal that has a handler: the default.
    ClearHandlers,
    /// `prctl(PR_SET_PDEATHSIG)`, then a futex: the child waits until the
    /// parent has run its functions, and ends with the parent.
    Gate,
    /// A function of the user's, by its place in the plan.
    Hook(u16),
    /// `prctl(PR_SET_DUMPABLE)`, to 0, and `prctl(PR_SET_NAME)`: what the
    /// program's exec resets, so that it can be seen.
    MarkHelper,
    /// `sigprocmask`: the mask is the caller's again.
    SignalMask,
    /// `execve(path, argv, envp)`; if nothing is there, the next is tried.
    Exec(Str),
    /// `execveat(fd, "", argv, envp, AT_EMPTY_PATH)` of a source descriptor,
    /// by its place.
    ExecFd(u16),
}
