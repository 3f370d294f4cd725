//! Hooks: functions that run in the child before exec, or in the parent
//! while the child waits.
#![allow(unsafe_code, reason = "the contract of hooks is the caller's")]

use crate::parent::command::Command;
use crate::parent::command::hook::{Hook, HookContext};
use crate::parent::command::parent_hook::ParentHook;
use crate::parent::error::{Error, Step};
use crate::parent::plan::builder::PlanBuilder;
use crate::parent::plan::op::Op;
use crate::parent::plan::step::Operand;
use crate::parent::std::{io, os::fd::BorrowedFd};
use crate::sys::Errno;

impl Command {
    /// Calls `function` in this process, on the thread that spawns, once the
    /// child is there and has done all else, and has not become the program
    /// yet: to write its id maps, to note its id before it can do anything,
    /// to put it where only its parent can. It is given the child's process
    /// id and, from Linux 5.3 on, a descriptor for it ([`pidfd_open(2)`]).
    ///
    /// The child waits, with its ids, directory and descriptors as they will
    /// be, all signals blocked, and its memory its own
    /// ([`Engine::Isolated`](crate::Engine::Isolated), else copied). It runs
    /// nothing of this process, so unlike [`Command::pre_exec`] the function
    /// may take locks, allocate and spawn. It must come to an end, as the
    /// spawn waits for it: a wait for any child (`waitpid(-1)`) does not
    /// return while this one is the only one; and it must not end its
    /// thread behind Rust's back (`pthread_exit`). Should the thread end all
    /// the same, so does the child (`PR_SET_PDEATHSIG`, cleared again before
    /// the program).
    ///
    /// Functions add up, and are called in the order they were added, before
    /// any of [`Command::pre_exec`]. They are called once for each child: a
    /// spawn that begins anew, as its program was still open for writing, or
    /// in a lesser way, calls them again, with another child.
    ///
    /// # Errors
    ///
    /// The spawn gives [`Step::BeforeExec`](crate::Step::BeforeExec) with
    /// what the function gave, and the child is ended by SIGKILL and waited
    /// for, as it is if the function panics. Refused beside
    /// [`Memory::Shared`](crate::Memory::Shared) and what asks for it, as
    /// the caller sleeps there; and by [`Command::exec`], which makes no
    /// process.
    ///
    /// See [`PR_SET_PDEATHSIG(2const)`].
    ///
    /// [`pidfd_open(2)`]: https://man7.org/linux/man-pages/man2/pidfd_open.2.html
    /// [`PR_SET_PDEATHSIG(2const)`]: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
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
        self.options.hooks.child.push(Hook::new(function, false));
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
        self.options.hooks.child.push(Hook::new(function, true));
        self
    }
}

/// The child waits until the parent has run its functions.
pub(crate) fn gate(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    if plan.options().hooks.parent.is_empty() {
        return Ok(());
    }
    if plan.in_place() {
        let why = "exec makes no process";
        return Err(Error::refused(Step::BeforeExec, why));
    }
    plan.op(Step::BeforeExec, Operand::Label("waits"), Op::Gate)
        .shown_as("futex")
        .note("before_exec, and ends with the parent")
        .needs_private(
            "before_exec",
            "the caller is suspended until exec and cannot run it",
        );
    Ok(())
}

/// The child calls the functions of the user.
pub(crate) fn hooks(plan: &mut PlanBuilder<'_>) -> Result<(), Error> {
    let hooks = &plan.options().hooks.child;
    let count = u16::try_from(hooks.len());
    let count = count.map_err(|_| {
        let why = "more than 65,535 of them";
        Error::refused_as(Step::PreExec, libc::E2BIG, why)
    })?;
    for (n, hook) in (0..count).zip(hooks) {
        let option =
            if hook.shared() { "pre_exec_shared" } else { "pre_exec" };
        if hook.shared() {
            plan.needs.shared(option);
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
