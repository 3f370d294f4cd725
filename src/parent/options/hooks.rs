//! Hooks: functions that run in the child before exec, or in the parent
//! while the child waits.
#![allow(unsafe_code, reason = "the caller fulfils the contract of hooks")]

use crate::parent::command::{Command, Hook, HookContext, ParentHook};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Op, Operand, PlanBuilder};
use crate::parent::std::{io, os::fd::BorrowedFd};
use crate::sys::Errno;

impl Command {
    /// Calls `function` in this process while the child waits, just before
    /// exec.
    ///
    /// The function runs on the thread that spawns, after all steps of the
    /// child but its hooks and exec. It can write the child's id maps, record
    /// its process id, or move it where only the parent can. Its arguments are
    /// the child's process id and, from Linux 5.3 on, a pidfd
    /// ([`pidfd_open(2)`]).
    ///
    /// The waiting child has its final ids, directory and descriptors, blocks
    /// all signals, and has memory of its own
    /// ([`Engine::Isolated`](crate::Engine::Isolated), else copied). It runs
    /// no code of this process, so unlike a [`Command::pre_exec`] hook the
    /// function may take locks, allocate and spawn. The spawn waits until it
    /// returns. It must not wait for any child (`waitpid(-1)`), which blocks
    /// while the waiting child is the only one, nor end its thread
    /// (`pthread_exit`): if the thread ends, the child ends too
    /// (`PR_SET_PDEATHSIG`, cleared before exec).
    ///
    /// Functions are called in the order in which they were added, before any
    /// [`Command::pre_exec`] hook. They are called once for each child: a
    /// spawn that starts over, because its program was open for writing or
    /// with a fallback, calls them again with another child.
    ///
    /// # Errors
    ///
    /// [`Step::BeforeExec`] with the error that the function returned. The
    /// child is then killed (SIGKILL) and reaped, as it is if the function
    /// panics. Refused with [`Memory::Shared`](crate::Memory::Shared) and
    /// options that need it, because the caller is suspended there, and by
    /// [`Command::exec`], which creates no process.
    ///
    /// See [`PR_SET_PDEATHSIG(2const)`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs;
    /// use offshoot::Command;
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "cat /proc/self/oom_score_adj"]);
    /// sh.before_exec(|pid, _pidfd| {
    ///     fs::write(format!("/proc/{pid}/oom_score_adj"), "500")
    /// });
    /// assert_eq!(sh.output()?.stdout, b"500\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [`PR_SET_PDEATHSIG(2const)`]: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    pub fn before_exec(
        &mut self,
        function: impl Fn(u32, Option<BorrowedFd<'_>>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> &mut Command {
        self.options.hooks.parent.push(ParentHook::new(function));
        self
    }

    /// Calls `function` in the child as the last step before exec, in a
    /// private copy of this process's memory.
    ///
    /// Functions are called in the order in which they were added. What they
    /// write to memory is discarded at exec. Descriptors 0, 1 and 2 are the
    /// child's own by then, and the other descriptors of this process stay
    /// open until exec, so that a function can use them.
    ///
    /// The copy costs about 40 ms for each GiB that this process uses. Most of
    /// what hooks are written for is an option of [`Command`], without that
    /// cost.
    ///
    /// A function may fork and call `_exit(0)` in the parent of that fork, as
    /// `daemon(3)` does. The program then runs in the new process, if that
    /// returns from the function within a second, and the
    /// [`Child`](crate::Child) is the process that exited.
    /// [`Launch::confirmed`](crate::Launch::confirmed) is false in this case.
    ///
    /// # Errors
    ///
    /// [`Step::PreExec`] with the errno that the function returned, if it
    /// panics, or if it ends the child, by `_exit(0)` or by a signal (reported
    /// after a second, in which a fork could still return).
    ///
    /// # Safety
    ///
    /// The function runs in a copy of a process that may have had other
    /// threads: locks that they held stay locked, and data that they were
    /// changing may be inconsistent. So it must be async-signal-safe
    /// ([`signal-safety(7)`]): it must not allocate or free memory, take locks
    /// of libc or std, or call pthread functions (no atfork handlers have
    /// run). The methods of [`HookContext`] are async-signal-safe. A panic is
    /// caught, but prints and allocates first, and may deadlock.
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
    ///
    /// [`signal-safety(7)`]: https://man7.org/linux/man-pages/man7/signal-safety.7.html
    pub unsafe fn pre_exec(
        &mut self,
        function: impl Fn(&mut HookContext<'_>) -> Result<(), Errno>
        + Send
        + Sync
        + 'static,
    ) -> &mut Command {
        self.options.hooks.child.push(Hook::new(function, false));
        self
    }

    /// Calls `function` as [`Command::pre_exec`] does, but in this process's
    /// own memory, while the calling thread is suspended.
    ///
    /// The cost does not depend on the size of this process. A fork that
    /// returns from the function exits at once.
    ///
    /// # Errors
    ///
    /// As [`Command::pre_exec`]; and [`Step::Memory`], naming the option, with
    /// one that must not share memory.
    ///
    /// # Safety
    ///
    /// In addition to the requirements of [`Command::pre_exec`]:
    ///
    /// - The function must not panic. The panic count, and what a panic prints
    ///   and allocates, belong to the calling thread, and other threads may
    ///   hold the locks that it takes. (A panic is caught in the child all the
    ///   same, which restores the count.)
    /// - Its writes to memory persist, and race with other threads.
    /// - It must not change attributes of the memory: the dumpable flag, any
    ///   id or capability (which changes that flag), mappings.
    /// - It must not block: the calling thread cannot be woken.
    /// - Thread-locals are those of the calling thread. The function must not
    ///   call libc, which may keep process ids and `errno` there.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Engine};
    ///
    /// let mut sh = Command::new("true");
    /// // SAFETY: the hook makes one system call and accesses no memory.
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
        self.options.hooks.child.push(Hook::new(function, true));
        self
    }
}

/// The child waits until the parent has called its functions.
pub(crate) fn gate(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if plan.options().hooks.parent.is_empty() {
        return Ok(());
    }
    if plan.in_place() {
        let why = "exec creates no process";
        return Err(Error::refused(Step::BeforeExec, why));
    }
    plan.op(
        Step::BeforeExec,
        Operand::Label("waits for before_exec"),
        Op::Gate,
    )
    .shown_as("futex")
    .note("ends with the parent")
    .needs_private(
        "before_exec",
        "the caller is suspended until exec and cannot run it",
    );
    Ok(())
}

/// The child calls its hooks.
pub(crate) fn hooks(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let hooks = &plan.options().hooks.child;
    let count = u16::try_from(hooks.len());
    let count = count.map_err(|_| {
        let why = "more than 65,535 hooks";
        Error::refused_as(Step::PreExec, libc::E2BIG, why)
    })?;
    for (n, hook) in (0..count).zip(hooks) {
        let option =
            if hook.shared() { "pre_exec_shared" } else { "pre_exec" };
        if hook.shared() {
            plan.needs.shared(option, "it runs in the parent's memory");
        } else {
            plan.needs.private(option, COPY);
        }
        plan.needs.copy("pre_exec", COPY);
        plan.op(Step::PreExec, Operand::Label(option), Op::Hook(n))
            .shown_as("call")
            .note("the caller's function");
    }
    Ok(())
}

const COPY: &str = "it runs in a copy of the parent's memory";
