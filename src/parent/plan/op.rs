//! `Op`: one step of the child's short life. Plain data.

/// A string in the plan's text: where it starts and how long it is, without
/// the NUL that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Str {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What a descriptor of the child's is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `/dev/null`.
    Null,
    /// A fresh pipe each launch.
    Pipe,
    /// A path that is opened each launch.
    Path(Str),
    /// A descriptor that the caller gave, by its place among them.
    Given(u16),
    /// The child's own, of this number, once that is made.
    Same(u8),
}

/// One step of the child's short life.
///
/// A plan holds the steps of every engine; which of them run, and how, is
/// the shape's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `sigprocmask`: SIGSYS is blocked too, where the parent's handler for it
    /// is still there.
    BlockSigsys,
    /// `set_robust_list`: the kernel wakes the parent at exec or at death.
    RobustList,
    /// `close_range` above all that later steps need: from 3, or from above
    /// the descriptors that the parent made for them.
    CloseRange,
    /// `close_range` from 3 up, close-on-exec: what is open stays so until
    /// exec, for functions that use it.
    MarkRange,
    /// `write(cgroup.procs, "0")`: the child enters the group by itself.
    JoinCgroup,
    /// `dup3(source, to, 0)`: `to` becomes the source and survives exec.
    /// `fcntl(to, F_SETFD, 0)` where it is its own source.
    Dup { to: u32, role: Role },
    /// `close(to)`.
    Close { to: u8 },
    /// `dup3` of the image and of the page that it reports through, to
    /// numbers that stay the same; what is held till the last exec stays
    /// open over the first.
    PassHelperFds,
    /// `close_range` of each gap between what the child has or still needs,
    /// from 3 up to where the first one began.
    CloseGaps,
    /// `execveat` of the image: the rest happens there.
    ExecHelper,
    /// The image's first steps: `set_robust_list`, so that the kernel wakes
    /// the parent at exec or at death; its page and what is held are closed
    /// at the next exec; its capabilities are what the parent's were.
    HelperInit,
    /// `setsid()`.
    Setsid,
    /// `setpgid(0, group)`.
    Setpgid(u32),
    /// `umask(mask)`.
    Umask(u32),
    /// `chroot(dir)`, then `chdir("/")`: nothing outside stays in reach.
    Chroot(Str),
    /// `setgroups([])`, because ids change. A refusal counts only if they do.
    ClearGroups { uid: Option<u32>, gid: Option<u32> },
    /// `setgroups(list)`: so many 32-bit numbers, in ascending order.
    Setgroups { list: Str, count: u32 },
    /// `setresgid`, all three, read back.
    Setgid(u32),
    /// `setresuid`, all three, read back.
    Setuid(u32),
    /// `chdir(path)`.
    Chdir(Str),
    /// `fchdir` to a descriptor that the caller gave, by its place.
    Fchdir(u16),
    /// `sigaction` of every signal that has a handler: the default.
    ClearHandlers,
    /// `sigaction(signal, SIG_DFL)`.
    DefaultSignal(u8),
    /// `prctl(PR_SET_PDEATHSIG)`, then a futex: the child waits until the
    /// parent has done its part, and ends with the parent.
    Gate,
    /// A function of the user's, by its place in the plan.
    Hook(u16),
    /// `prctl(PR_SET_DUMPABLE)`, to 0, and `prctl(PR_SET_NAME)`: what the
    /// program's exec changes, so that it shows.
    MarkHelper,
    /// `sigprocmask`: the mask is the caller's again.
    SignalMask,
    /// `getpid()`, as decimal digits in the variable LISTEN_PID.
    ListenPid,
    /// `execve(path, argv, envp)`; if nothing is there, the next op is tried.
    Exec(Str),
    /// `execveat(fd, "", argv, envp, AT_EMPTY_PATH)` of a descriptor that
    /// the caller gave, by its place.
    ExecFd(u16),
}
