//! `Step`: what failed, by the name of its option or system call.

use crate::parent::std::fmt;

/// Declares the steps, each with the name that an error prints.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident => $name:literal,)*) => {
        /// The step that failed: an option that was refused, a call that the
        /// parent made before there was a child, a call that the child made
        /// before exec, or one on the running child.
        ///
        /// Displays as the name of the option or system call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Step {
            $($(#[$doc])* $step,)*
        }

        impl fmt::Display for Step {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Step::$step => $name,)*
                })
            }
        }
    };
}

steps! {
    /// The program's name, refused before anything is made.
    Program => "program",
    /// An argument, refused before anything is made.
    Arg => "arg",
    /// `candidates`, refused before anything is made.
    Candidates => "candidates",
    /// `env_exact`, refused before anything is made.
    EnvExact => "env_exact",
    /// A variable of the environment, refused before anything is made.
    Env => "env",
    /// The directory's name, refused before anything is made.
    CurrentDir => "current_dir",
    /// Standard input: the descriptor for it could not be made.
    Stdin => "stdin",
    /// Standard output: the descriptor for it could not be made.
    Stdout => "stdout",
    /// Standard error: the descriptor for it could not be made.
    Stderr => "stderr",
    /// `arg0`, refused before anything is made.
    Arg0 => "arg0",
    /// `path_search`, refused before anything is made.
    PathSearch => "path_search",
    /// `method`, refused before anything is made.
    Method => "method",
    /// `memory`, refused before anything is made.
    Memory => "memory",
    /// `process_group`, refused before anything is made.
    ProcessGroup => "process_group",
    /// `umask`, refused before anything is made.
    Umask => "umask",
    /// `nice`: setpriority.
    Nice => "nice",
    /// `uid`, refused before anything is made.
    Uid => "uid",
    /// `gid`, refused before anything is made.
    Gid => "gid",
    /// `groups`, refused before anything is made.
    Groups => "groups",
    /// `fd`: refused, or its source is closed.
    Fd => "fd",
    /// `inherit_fd`: refused.
    InheritFd => "inherit_fd",
    /// `inherit_raw_fd`: refused, or that descriptor is closed.
    InheritRawFd => "inherit_raw_fd",
    /// `inherit_jobserver`: another option names its descriptors, or they
    /// were closed after the plan was made.
    InheritJobserver => "inherit_jobserver",
    /// `listen_fds`: refused, or a descriptor of it is closed.
    ListenFds => "listen_fds",
    /// `current_dir_fd`: refused, or its descriptor is closed.
    CurrentDirFd => "current_dir_fd",
    /// `script_fd`: refused.
    ScriptFd => "script_fd",
    /// `shell_fallback`: refused.
    ShellFallback => "shell_fallback",
    /// `reserve_fds`: the descriptors could not be made.
    ReserveFds => "reserve_fds",
    /// `from_fd`: its descriptor is closed, or is one of a `#!` script.
    FromFd => "from_fd",
    /// `from_bytes`: the sealed memory file could not be made.
    FromBytes => "from_bytes",
    /// `self_exe`: the sealed copy of this program could not be made.
    SelfExe => "self_exe",
    /// `chroot`: refused, or
    /// [`chroot(2)`](https://man7.org/linux/man-pages/man2/chroot.2.html)
    /// in the child.
    Chroot => "chroot",
    /// The memory files of the isolated engine, or the first steps in them:
    /// see [`Engine::Isolated`](crate::Engine::Isolated).
    Image => "image",
    /// `set_tid`: refused, or the kernel does not give those ids.
    SetTid => "set_tid",
    /// `cgroup`: the group cannot be opened or entered.
    Cgroup => "cgroup",
    /// Compiling the plan; the text says what is wrong.
    Plan => "plan",
    /// [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html) or
    /// clone3: no child was made.
    Clone => "clone",
    /// [`set_robust_list(2)`](https://man7.org/linux/man-pages/man2/get_robust_list.2.html)
    /// in the child.
    RobustList => "set_robust_list",
    /// [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html)
    /// in the child, or it had no effect.
    CloseRange => "close_range",
    /// [`dup3(2)`](https://man7.org/linux/man-pages/man2/dup.2.html) in the
    /// child.
    Dup => "dup3",
    /// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_SETFD.2const.html)
    /// in the child: a descriptor that is to stay is not open.
    Fcntl => "fcntl",
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html) in
    /// the child.
    Close => "close",
    /// `setsid`: refused, or
    /// [`setsid(2)`](https://man7.org/linux/man-pages/man2/setsid.2.html) in
    /// the child.
    Setsid => "setsid",
    /// [`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    /// in the child.
    Setpgid => "setpgid",
    /// [`setgroups(2)`](https://man7.org/linux/man-pages/man2/setgroups.2.html)
    /// in the child, or it had no effect.
    Setgroups => "setgroups",
    /// [`setresgid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresgid => "setresgid",
    /// [`setresuid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// in the child, or it had no effect.
    Setresuid => "setresuid",
    /// [`chdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) in
    /// the child.
    Chdir => "chdir",
    /// [`fchdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) in
    /// the child.
    Fchdir => "fchdir",
    /// `before_exec`: refused, a function given to it failed, or the child
    /// could not wait for it
    /// ([`futex(2)`](https://man7.org/linux/man-pages/man2/futex.2.html)).
    BeforeExec => "before_exec",
    /// A function given to `pre_exec` or `pre_exec_shared`.
    PreExec => "pre_exec",
    /// [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    /// in the child.
    SignalAction => "sigaction",
    /// [`sigprocmask(2)`](https://man7.org/linux/man-pages/man2/sigprocmask.2.html)
    /// in the child.
    SignalMask => "sigprocmask",
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html), or
    /// [`execveat(2)`](https://man7.org/linux/man-pages/man2/execveat.2.html)
    /// of a descriptor.
    Exec => "execve",
    /// The program is there, but the interpreter that it names (`#!`, or the
    /// dynamic loader of an ELF file) is not (ENOENT), or may not be executed
    /// (EACCES). The operand is the interpreter.
    Interpreter => "interpreter",
    /// [`waitid(2)`](https://man7.org/linux/man-pages/man2/waitid.2.html) for
    /// the child.
    Wait => "waitid",
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    /// to the child.
    Kill => "kill",
    /// Reading what the child writes.
    Read => "read",
}
