//! `Step`: what failed, by the name of its option or system call.

use crate::parent::std::fmt;

/// The step that failed: an option that was refused, a call that the parent
/// made before there was a child, a call that the child made before exec, or
/// one on the running child.
///
/// Displays as the option's or the system call's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The program's name, refused before anything is made.
    Program,
    /// An argument, refused before anything is made.
    Arg,
    /// `candidates`, refused before anything is made.
    Candidates,
    /// `env_exact`, refused before anything is made.
    EnvExact,
    /// A variable of the environment, refused before anything is made.
    Env,
    /// The directory's name, refused before anything is made.
    CurrentDir,
    /// Standard input: the descriptor for it could not be made.
    Stdin,
    /// Standard output: the descriptor for it could not be made.
    Stdout,
    /// Standard error: the descriptor for it could not be made.
    Stderr,
    /// `arg0`, refused before anything is made.
    Arg0,
    /// `path_search`, refused before anything is made.
    PathSearch,
    /// `method`, refused before anything is made.
    Method,
    /// `memory`, refused before anything is made.
    Memory,
    /// `process_group`, refused before anything is made.
    ProcessGroup,
    /// `umask`, refused before anything is made.
    Umask,
    /// `nice`: setpriority.
    Nice,
    /// `uid`, refused before anything is made.
    Uid,
    /// `gid`, refused before anything is made.
    Gid,
    /// `groups`, refused before anything is made.
    Groups,
    /// `fd`: refused, or its source is closed.
    Fd,
    /// `inherit_fd`: refused.
    InheritFd,
    /// `inherit_raw_fd`: refused, or that descriptor is closed.
    InheritRawFd,
    /// `inherit_jobserver`: another option names its descriptors, or they
    /// were closed after the plan was made.
    InheritJobserver,
    /// `listen_fds`: refused, or a descriptor of it is closed.
    ListenFds,
    /// `current_dir_fd`: refused, or its descriptor is closed.
    CurrentDirFd,
    /// `script_fd`: refused.
    ScriptFd,
    /// `shell_fallback`: refused.
    ShellFallback,
    /// `reserve_fds`: the descriptors could not be made.
    ReserveFds,
    /// `from_fd`: its descriptor is closed, or is one of a `#!` script.
    FromFd,
    /// `from_bytes`: the sealed memory file could not be made.
    FromBytes,
    /// `self_exe`: the sealed copy of this program could not be made.
    SelfExe,
    /// `chroot`: refused, or
    /// [`chroot(2)`](https://man7.org/linux/man-pages/man2/chroot.2.html)
    /// in the child.
    Chroot,
    /// The memory files of the isolated engine, or the first steps in them:
    /// see [`Engine::Isolated`](crate::Engine::Isolated).
    Image,
    /// `set_tid`: refused, or the kernel does not give those ids.
    SetTid,
    /// `cgroup`: the group cannot be opened or entered.
    Cgroup,
    /// Compiling the plan; the text says what is wrong.
    Plan,
    /// [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html) or
    /// clone3: no child was made.
    Clone,
    /// [`set_robust_list(2)`](https://man7.org/linux/man-pages/man2/get_robust_list.2.html)
    /// in the child.
    RobustList,
    /// [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html)
    /// in the child, or it had no effect.
    CloseRange,
    /// [`dup3(2)`](https://man7.org/linux/man-pages/man2/dup.2.html) in the
    /// child.
    Dup,
    /// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_SETFD.2const.html)
    /// in the child: a descriptor that is to stay is not open.
    Fcntl,
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html) in
    /// the child.
    Close,
    /// `setsid`: refused, or
    /// [`setsid(2)`](https://man7.org/linux/man-pages/man2/setsid.2.html) in
    /// the child.
    Setsid,
    /// [`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    /// in the child.
    Setpgid,
    /// [`setgroups(2)`](https://man7.org/linux/man-pages/man2/setgroups.2.html)
    /// in the child, or it had no effect.
    Setgroups,
    /// [`setresgid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresgid,
    /// [`setresuid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresuid,
    /// [`chdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) in
    /// the child.
    Chdir,
    /// [`fchdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) in
    /// the child.
    Fchdir,
    /// `before_exec`: refused, a function given to it failed, or the child
    /// could not wait for it
    /// ([`futex(2)`](https://man7.org/linux/man-pages/man2/futex.2.html)).
    BeforeExec,
    /// A function given to `pre_exec` or `pre_exec_shared`.
    PreExec,
    /// [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    /// in the child.
    SignalAction,
    /// [`sigprocmask(2)`](https://man7.org/linux/man-pages/man2/sigprocmask.2.html)
    /// in the child.
    SignalMask,
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html), or
    /// [`execveat(2)`](https://man7.org/linux/man-pages/man2/execveat.2.html)
    /// of a descriptor.
    Exec,
    /// The program is there, but the interpreter that it names (`#!`, or the
    /// dynamic loader of an ELF file) is not (ENOENT), or may not be executed
    /// (EACCES). The operand is the interpreter.
    Interpreter,
    /// [`waitid(2)`](https://man7.org/linux/man-pages/man2/waitid.2.html) for
    /// the child.
    Wait,
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    /// to the child.
    Kill,
    /// Reading what the child writes.
    Read,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Step::Program => "program",
            Step::Arg => "arg",
            Step::Candidates => "candidates",
            Step::EnvExact => "env_exact",
            Step::Env => "env",
            Step::CurrentDir => "current_dir",
            Step::Stdin => "stdin",
            Step::Stdout => "stdout",
            Step::Stderr => "stderr",
            Step::Arg0 => "arg0",
            Step::PathSearch => "path_search",
            Step::Method => "method",
            Step::Memory => "memory",
            Step::ProcessGroup => "process_group",
            Step::Umask => "umask",
            Step::Nice => "nice",
            Step::Uid => "uid",
            Step::Gid => "gid",
            Step::Groups => "groups",
            Step::Fd => "fd",
            Step::InheritFd => "inherit_fd",
            Step::InheritRawFd => "inherit_raw_fd",
            Step::InheritJobserver => "inherit_jobserver",
            Step::ListenFds => "listen_fds",
            Step::CurrentDirFd => "current_dir_fd",
            Step::ScriptFd => "script_fd",
            Step::ShellFallback => "shell_fallback",
            Step::ReserveFds => "reserve_fds",
            Step::FromFd => "from_fd",
            Step::FromBytes => "from_bytes",
            Step::SelfExe => "self_exe",
            Step::Chroot => "chroot",
            Step::Image => "image",
            Step::SetTid => "set_tid",
            Step::Cgroup => "cgroup",
            Step::Plan => "plan",
            Step::Clone => "clone",
            Step::RobustList => "set_robust_list",
            Step::CloseRange => "close_range",
            Step::Dup => "dup3",
            Step::Fcntl => "fcntl",
            Step::Close => "close",
            Step::Setsid => "setsid",
            Step::Setpgid => "setpgid",
            Step::Setgroups => "setgroups",
            Step::Setresgid => "setresgid",
            Step::Setresuid => "setresuid",
            Step::Chdir => "chdir",
            Step::Fchdir => "fchdir",
            Step::BeforeExec => "before_exec",
            Step::PreExec => "pre_exec",
            Step::SignalAction => "sigaction",
            Step::SignalMask => "sigprocmask",
            Step::Exec => "execve",
            Step::Interpreter => "interpreter",
            Step::Wait => "waitid",
            Step::Kill => "kill",
            Step::Read => "read",
        })
    }
}
