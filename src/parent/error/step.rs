//! `Step`: what failed, by its option or system call.

use crate::parent::std::fmt;

/// Declares the steps, each with the name that an error prints.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident => $name:literal,)*) => {
        /// The step that failed: an option that is not valid, a call of the
        /// parent before it created a child, a call of the child before exec,
        /// or a call on the running child.
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
    /// The program's name is not valid.
    Program => "program",
    /// An argument is not valid.
    Arg => "arg",
    /// `candidates` is not valid.
    Candidates => "candidates",
    /// `env_exact` is not valid.
    EnvExact => "env_exact",
    /// A variable of the environment is not valid.
    Env => "env",
    /// `current_dir` is not valid.
    CurrentDir => "current_dir",
    /// `stdin` is not valid, or its descriptor cannot be opened.
    Stdin => "stdin",
    /// `stdout` is not valid, or its descriptor cannot be opened.
    Stdout => "stdout",
    /// `stderr` is not valid, or its descriptor cannot be opened.
    Stderr => "stderr",
    /// `arg0` is not valid.
    Arg0 => "arg0",
    /// `path_search` is not valid.
    PathSearch => "path_search",
    /// `method` cannot be combined with another option.
    Method => "method",
    /// `memory` cannot be combined with another option.
    Memory => "memory",
    /// `best_effort` sets an option that a child must not run without.
    BestEffort => "best_effort",
    /// `namespaces` is not valid, the clone call failed for them, or
    /// [`unshare(2)`](https://man7.org/linux/man-pages/man2/unshare.2.html) did
    /// in the child.
    Namespaces => "namespaces",
    /// `mount_propagation` is not valid, or
    /// [`mount(2)`](https://man7.org/linux/man-pages/man2/mount.2.html) failed.
    MountPropagation => "mount_propagation",
    /// `uid_map` is not valid, or the kernel rejects it
    /// ([`user_namespaces(7)`](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)).
    UidMap => "uid_map",
    /// `gid_map` is not valid, or the kernel rejects it, or to deny `setgroups`
    /// before it
    /// ([`user_namespaces(7)`](https://man7.org/linux/man-pages/man7/user_namespaces.7.html)).
    GidMap => "gid_map",
    /// `hostname` is not valid, or
    /// [`sethostname(2)`](https://man7.org/linux/man-pages/man2/sethostname.2.html)
    /// failed.
    Hostname => "hostname",
    /// `domainname` is not valid, or
    /// [`setdomainname(2)`](https://man7.org/linux/man-pages/man2/getdomainname.2.html)
    /// failed.
    Domainname => "domainname",
    /// `process_group` is not valid.
    ProcessGroup => "process_group",
    /// `controlling_terminal` is not valid, or TIOCSCTTY failed in the child
    /// ([`ioctl_tty(2)`](https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html)).
    ControllingTerminal => "controlling_terminal",
    /// `foreground` is not valid, or TIOCSPGRP failed in the child
    /// ([`tcsetpgrp(3)`](https://man7.org/linux/man-pages/man3/tcsetpgrp.3.html)).
    Foreground => "foreground",
    /// `detach_terminal` is not valid, or TIOCNOTTY failed in the child
    /// ([`ioctl_tty(2)`](https://man7.org/linux/man-pages/man2/TIOCNOTTY.2const.html)).
    DetachTerminal => "detach_terminal",
    /// A pseudoterminal cannot be opened ([`pty(7)`](https://man7.org/linux/man-pages/man7/pty.7.html)).
    Pty => "pty",
    /// The options of capabilities exclude each other, or
    /// [`capset(2)`](https://man7.org/linux/man-pages/man2/capset.2.html)
    /// failed in the child, or had no effect.
    Capabilities => "capabilities",
    /// `PR_CAPBSET_DROP` failed in the child, or had no effect.
    BoundingCapabilities => "bounding_capabilities",
    /// `PR_CAP_AMBIENT` failed in the child, or had no effect.
    AmbientCapabilities => "ambient_capabilities",
    /// `PR_SET_KEEPCAPS` failed in the child, or had no effect.
    KeepCapabilities => "keep_capabilities",
    /// `securebits` is not valid, or `PR_SET_SECUREBITS` failed in the child,
    /// or had no effect.
    Securebits => "securebits",
    /// `PR_SET_NO_NEW_PRIVS` failed in the child, or had no effect.
    NoNewPrivs => "no_new_privs",
    /// `umask` is not valid, or umask failed in the child.
    Umask => "umask",
    /// `nice` is not valid, or setpriority failed in the child.
    Nice => "nice",
    /// `apparmor_profile` is not valid, or the child could not write it to
    /// `/proc/thread-self/attr/apparmor/exec`.
    ApparmorProfile => "apparmor_profile",
    /// `selinux_context` is not valid, or the child could not write it to
    /// `/proc/thread-self/attr/exec`.
    SelinuxContext => "selinux_context",
    /// [`ptrace(2)`](https://man7.org/linux/man-pages/man2/ptrace.2.html)
    /// failed in the child, or had no effect.
    PtraceTraceme => "ptrace_traceme",
    /// `landlock` is not valid: the kernel lacks what it asks for, or a path
    /// cannot be opened.
    Landlock => "landlock",
    /// `landlock_fd` is not valid, or its descriptor is closed.
    LandlockFd => "landlock_fd",
    /// [`landlock_restrict_self(2)`](https://man7.org/linux/man-pages/man2/landlock_restrict_self.2.html)
    /// failed in the child, or had no effect.
    LandlockRestrictSelf => "landlock_restrict_self",
    /// `session_keyring` is not valid, or
    /// [`keyctl(2)`](https://man7.org/linux/man-pages/man2/keyctl.2.html)
    /// failed in the child, or had no effect.
    SessionKeyring => "session_keyring",
    /// `scheduler` is not valid, or sched_setscheduler or sched_setattr failed
    /// in the child.
    Scheduler => "scheduler",
    /// `cpu_affinity` is not valid, or sched_setaffinity failed in the child.
    CpuAffinity => "cpu_affinity",
    /// `io_priority` is not valid, or ioprio_set failed in the child.
    IoPriority => "io_priority",
    /// `timer_slack` is not valid, or `PR_SET_TIMERSLACK` failed in the child.
    TimerSlack => "timer_slack",
    /// `PR_SCHED_CORE` failed in the child.
    CoreScheduling => "core_scheduling",
    /// `PR_SET_THP_DISABLE` failed in the child.
    TransparentHugePages => "transparent_huge_pages",
    /// `PR_SET_MEMORY_MERGE` failed in the child.
    MemoryMerge => "memory_merge",
    /// `numa_policy` is not valid, or set_mempolicy failed in the child.
    NumaPolicy => "numa_policy",
    /// `oom_score_adj` is not valid, or could not be written in the child.
    OomScoreAdj => "oom_score_adj",
    /// personality failed in the child.
    Personality => "personality",
    /// `rlimit` is not valid, or prlimit failed in the child.
    Rlimit => "rlimit",
    /// `uid` is not valid.
    Uid => "uid",
    /// `user` is not valid: there is no such user, or it cannot be looked up.
    User => "user",
    /// `resuid` is not valid.
    Resuid => "resuid",
    /// `resgid` is not valid.
    Resgid => "resgid",
    /// `gid` is not valid.
    Gid => "gid",
    /// `groups` is not valid.
    Groups => "groups",
    /// `fd` is not valid, or its source is closed.
    Fd => "fd",
    /// `inherit_fd` is not valid.
    InheritFd => "inherit_fd",
    /// `inherit_raw_fd` is not valid, or its descriptor is closed.
    InheritRawFd => "inherit_raw_fd",
    /// `inherit_jobserver` is not valid, as another option assigns its
    /// descriptors, or they were closed after the plan was compiled.
    InheritJobserver => "inherit_jobserver",
    /// `listen_fds` is not valid, or a descriptor of it is closed.
    ListenFds => "listen_fds",
    /// `open_in_child` is not valid, or
    /// [`openat(2)`](https://man7.org/linux/man-pages/man2/open.2.html) failed
    /// in the child.
    OpenInChild => "open_in_child",
    /// `nonblocking` is not valid, or FIONBIO failed in the child
    /// ([`ioctl(2)`](https://man7.org/linux/man-pages/man2/ioctl.2.html)).
    Nonblocking => "nonblocking",
    /// `current_dir_fd` is not valid, or its descriptor is closed.
    CurrentDirFd => "current_dir_fd",
    /// `script_fd` is not valid.
    ScriptFd => "script_fd",
    /// `shell_fallback` cannot be combined with another option.
    ShellFallback => "shell_fallback",
    /// `reserve_fds` cannot open the descriptors.
    ReserveFds => "reserve_fds",
    /// `from_fd` is not valid: its descriptor is closed, or open on a script.
    FromFd => "from_fd",
    /// `from_bytes` cannot make the sealed memfd.
    FromBytes => "from_bytes",
    /// `self_exe` cannot make the sealed copy of this program.
    SelfExe => "self_exe",
    /// `chroot` is not valid, or
    /// [`chroot(2)`](https://man7.org/linux/man-pages/man2/chroot.2.html)
    /// failed in the child.
    Chroot => "chroot",
    /// A memfd or the helper of the isolated engine failed: see
    /// [`Engine::Isolated`](crate::Engine::Isolated).
    Image => "image",
    /// `set_tid` is not valid, or the kernel does not assign those ids.
    SetTid => "set_tid",
    /// `autoreap` cannot be combined with another option, or the kernel does
    /// not have it.
    Autoreap => "autoreap",
    /// `autokill` cannot be combined with another option, or the kernel does
    /// not have it, or takes a privilege for it.
    Autokill => "autokill",
    /// `cgroup` or `own_cgroup` is not valid: the group cannot be opened, made
    /// or entered.
    Cgroup => "cgroup",
    /// The plan cannot be compiled; the text has the reason.
    Plan => "plan",
    /// [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html) or
    /// clone3 failed: no child was created.
    Clone => "clone",
    /// [`set_robust_list(2)`](https://man7.org/linux/man-pages/man2/get_robust_list.2.html)
    /// failed in the child.
    RobustList => "set_robust_list",
    /// [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html)
    /// failed in the child, or had no effect.
    CloseRange => "close_range",
    /// [`dup3(2)`](https://man7.org/linux/man-pages/man2/dup.2.html) failed in
    /// the child.
    Dup => "dup3",
    /// [`fcntl(2)`](https://man7.org/linux/man-pages/man2/F_SETFD.2const.html)
    /// failed in the child: a descriptor to be inherited is not open.
    Fcntl => "fcntl",
    /// [`close(2)`](https://man7.org/linux/man-pages/man2/close.2.html) failed
    /// in the child.
    Close => "close",
    /// `setsid` is not valid, or
    /// [`setsid(2)`](https://man7.org/linux/man-pages/man2/setsid.2.html)
    /// failed in the child.
    Setsid => "setsid",
    /// [`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    /// failed in the child.
    Setpgid => "setpgid",
    /// [`setgroups(2)`](https://man7.org/linux/man-pages/man2/setgroups.2.html)
    /// failed in the child, or had no effect.
    Setgroups => "setgroups",
    /// [`setresgid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// failed in the child, or had no effect.
    Setresgid => "setresgid",
    /// [`setresuid(2)`](https://man7.org/linux/man-pages/man2/setresuid.2.html)
    /// failed in the child, or had no effect.
    Setresuid => "setresuid",
    /// [`chdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) failed
    /// in the child.
    Chdir => "chdir",
    /// [`fchdir(2)`](https://man7.org/linux/man-pages/man2/chdir.2.html) failed
    /// in the child.
    Fchdir => "fchdir",
    /// `before_exec` is not valid, its function failed, or the child could not
    /// wait for it
    /// ([`futex(2)`](https://man7.org/linux/man-pages/man2/futex.2.html)).
    BeforeExec => "before_exec",
    /// `raw_syscall` is not valid, or its system call failed in the child.
    RawSyscall => "raw_syscall",
    /// A function passed to `pre_exec` or `pre_exec_shared` failed.
    PreExec => "pre_exec",
    /// `default_signal` is not valid.
    DefaultSignal => "default_signal",
    /// `ignore_signal` is not valid.
    IgnoreSignal => "ignore_signal",
    /// `parent_death_signal` is not valid, prctl failed in the child, or the
    /// parent has ended.
    ParentDeathSignal => "parent_death_signal",
    /// `die_with_parent` is not valid, or its thread cannot be created.
    DieWithParent => "die_with_parent",
    /// [`sigaction(2)`](https://man7.org/linux/man-pages/man2/sigaction.2.html)
    /// failed in the child.
    SignalAction => "sigaction",
    /// `signal_mask` is not valid, or
    /// [`sigprocmask(2)`](https://man7.org/linux/man-pages/man2/sigprocmask.2.html)
    /// failed in the child.
    SignalMask => "sigprocmask",
    /// `seccomp` is not valid, or
    /// [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html)
    /// failed in the child.
    Seccomp => "seccomp",
    /// `seccomp_with_listener` is not valid,
    /// [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html)
    /// failed in the child, or
    /// [`pidfd_getfd(2)`](https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html)
    /// failed here.
    SeccompListener => "seccomp_with_listener",
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html), or
    /// [`execveat(2)`](https://man7.org/linux/man-pages/man2/execveat.2.html)
    /// of a descriptor, failed.
    Exec => "execve",
    /// The program exists, but the interpreter that it names (`#!`, or the
    /// dynamic loader of an ELF file) does not (ENOENT) or may not be executed
    /// (EACCES). The operand is the interpreter.
    Interpreter => "interpreter",
    /// [`waitid(2)`](https://man7.org/linux/man-pages/man2/waitid.2.html) for
    /// the child failed.
    Wait => "waitid",
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    /// to the child failed.
    Kill => "kill",
    /// A call about a process by its
    /// [pidfd](https://man7.org/linux/man-pages/man2/pidfd_open.2.html) failed.
    Pidfd => "pidfd",
    /// Reading the child's output failed, or a limit of it was reached.
    Read => "read",
    /// Writing the child's input failed.
    Write => "write",
    /// The function passed to `stream_lines` failed.
    StreamLines => "stream_lines",
}
