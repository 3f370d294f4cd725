//! Session, process group, file mode mask, and functions before exec.
#![allow(unsafe_code, reason = "the contract of hooks is the caller's")]

use crate::parent::command::Command;
use crate::parent::command::hook::{Hook, HookContext};
use crate::sys::Errno;

impl Command {
    /// The process group that the child is put into; 0 is one of its own,
    /// with its own process id as the group's.
    ///
    /// # Errors
    ///
    /// [`Step::ProcessGroup`](crate::Step::ProcessGroup) for a negative
    /// number; [`Step::Setpgid`](crate::Step::Setpgid) with EPERM, if there is
    /// no such group in the session ([`setpgid(2)`]).
    ///
    /// [`setpgid(2)`]: https://man7.org/linux/man-pages/man2/setpgid.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("true").process_group(0).spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.options.process_group = Some(group);
        self
    }

    /// Whether the child begins a session of its own: it leads it and a new
    /// process group, and has no terminal ([`setsid(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::Setsid`](crate::Step::Setsid), naming `process_group`, if that
    /// is asked for as well: the leader of a session cannot change its group.
    ///
    /// [`setsid(2)`]: https://man7.org/linux/man-pages/man2/setsid.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// let mut daemon = offshoot::Command::new("true");
    /// assert!(daemon.setsid(true).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn setsid(&mut self, setsid: bool) -> &mut Command {
        self.options.setsid = setsid;
        self
    }

    /// The child's file mode creation mask: these permissions are taken from
    /// the files that it makes ([`umask(2)`]).
    ///
    /// # Errors
    ///
    /// [`Step::Umask`](crate::Step::Umask) for a mask above `0o777`.
    ///
    /// [`umask(2)`]: https://man7.org/linux/man-pages/man2/umask.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "umask"]).umask(0o027);
    /// assert_eq!(sh.output()?.stdout, b"0027\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn umask(&mut self, mask: u32) -> &mut Command {
        self.options.umask = Some(mask);
        self
    }

    /// A function that the child calls last before exec, in a private copy
    /// of this process's memory; what it writes is gone with the exec. Those
    /// given first are called first. The child has the descriptors of this
    /// process until exec then, so that the function can use them; 0, 1 and
    /// 2 are the child's own already.
    ///
    /// The copy makes a spawn cost about 40 ms for each GiB that this
    /// process uses. Almost everything that hooks are written for is an
    /// option of [`Command`], at no such cost.
    ///
    /// A function may fork and let the parent half call `_exit(0)`, as
    /// `daemon(3)` does: the program then runs in the fork, if that returns
    /// from its function within a second, and the [`Child`](crate::Child) is
    /// the parent half. [`Launch::confirmed`](crate::Launch::confirmed) is
    /// false then.
    ///
    /// # Errors
    ///
    /// [`Step::PreExec`](crate::Step::PreExec): with the function's errno; if
    /// it panics; if it ends the child, by `_exit(0)` as well as by a signal
    /// (after a second, in which a fork of it may come).
    ///
    /// # Safety
    ///
    /// The function runs in a copy of a process that may have had other
    /// threads, whose locks stay locked for ever and whose work is half done.
    /// So it must be async-signal-safe ([`signal-safety(7)`]): no allocation
    /// and no freeing, no locks of libc or std, no pthread calls (no atfork
    /// handlers have run). [`HookContext`] has calls that are. A panic
    /// prints and allocates: it is caught, but may hang first.
    ///
    /// [`signal-safety(7)`]: https://man7.org/linux/man-pages/man7/signal-safety.7.html
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// /// As `libc::RLIMIT_NOFILE`.
    /// const RLIMIT_NOFILE: u32 = 7;
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "ulimit -n"]);
    /// // SAFETY: the hook makes one system call through its context.
    /// unsafe {
    ///     sh.pre_exec(|context| context.setrlimit(RLIMIT_NOFILE, 99, 99));
    /// }
    /// assert_eq!(sh.output()?.stdout, b"99\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn pre_exec(
        &mut self,
        function: impl Fn(&mut HookContext<'_>) -> Result<(), Errno>
        + Send
        + Sync
        + 'static,
    ) -> &mut Command {
        self.options.hooks.push(Hook::new(function, false));
        self
    }

    /// As [`Command::pre_exec`], but in this process's own memory, while the
    /// calling thread sleeps: it costs nothing that grows with the process.
    /// A fork that returns from the function ends at once.
    ///
    /// # Errors
    ///
    /// As [`Command::pre_exec`]; and [`Step::Memory`](crate::Step::Memory),
    /// naming the option, beside one that must not share memory.
    ///
    /// # Safety
    ///
    /// Beside what [`Command::pre_exec`] asks for:
    ///
    /// - The function must not panic. The count of panics, and what a panic
    ///   prints and allocates, are the calling thread's own here, and other
    ///   threads may hold the locks it takes. (If it panics all the same, it
    ///   is caught in the child, so that the count is right again.)
    /// - What it writes to memory stays, and races with other threads.
    /// - It must not change what belongs to memory: the dumpable flag, any
    ///   id or capability (which changes that flag), mappings.
    /// - It must not block: the calling thread cannot be woken.
    /// - Thread-locals are those of the calling thread; libc must not be
    ///   called, as it may keep process ids and `errno` there.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Engine};
    ///
    /// let mut sh = Command::new("true");
    /// // SAFETY: the hook makes one system call and touches no memory.
    /// unsafe {
    ///     sh.pre_exec_shared(|context| context.setsid());
    /// }
    /// let mut child = sh.spawn()?;
    /// assert_eq!(child.launch().engine(), Engine::Suspended);
    /// child.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn pre_exec_shared(
        &mut self,
        function: impl Fn(&mut HookContext<'_>) -> Result<(), Errno>
        + Send
        + Sync
        + 'static,
    ) -> &mut Command {
        self.options.hooks.push(Hook::new(function, true));
        self
    }
}
