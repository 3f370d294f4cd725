//! `Op`: one step of the child's short life. Plain data.

/// A string in the plan's text: where it starts and how long it is, without
/// the NUL that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Str {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What a standard descriptor is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `/dev/null`.
    Null,
    /// A fresh pipe each launch.
    Pipe,
    /// A path that is opened each launch.
    Path(Str),
    /// A descriptor that the caller gave.
    Given,
}

/// One step of the child's short life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `set_robust_list`: the kernel wakes the parent at exec or at death.
    Watch,
    /// `close_range` above all that later steps need: from 3, or with `kept`
    /// from above the descriptors that the parent made for them. `share`
    /// says that the table is still the parent's and becomes our own here.
    CloseRange { share: bool, kept: bool },
    /// `dup3(source, to, 0)`: `to` becomes the source and survives exec.
    Dup { to: u8, role: Role },
    /// `close_range` from 3 up to where the first one began.
    CloseGaps,
    /// `chdir(path)`.
    Chdir(Str),
    /// `sigaction(signal, SIG_DFL)`.
    DefaultSignal(u8),
    /// `sigprocmask`: the mask is the caller's again.
    SignalMask,
    /// `execve(path, argv, envp)`; if nothing is there, the next op is tried.
    Exec(Str),
}
