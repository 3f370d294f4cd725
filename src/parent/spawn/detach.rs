//! `detach`: a program that is not a child of this process.

use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use crate::parent::command::{Command, Engine, ParentDeath, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::handle::Detached;
use crate::parent::order;
use crate::parent::plan::{Effect, Parentage, Plan, stdio_step};
use crate::parent::std::boxed::Box;

impl Command {
    /// Starts the program as a process that is not a child of this one (the
    /// double fork of daemons) and returns once it runs: a process in between
    /// starts it and exits, and is reaped here. The program's parent is then
    /// the init process or the nearest subreaper ([`prctl(2)`],
    /// `PR_SET_CHILD_SUBREAPER`), which is this process if it is one.
    ///
    /// It is the leader of a session of its own, as with [`Command::setsid`].
    /// Nothing is left to wait for, and its end raises no SIGCHLD here. As with
    /// [`Command::spawn`], standard input, output and error are inherited by
    /// default; a daemon sets them to [`Stdio::null`] or a file.
    ///
    /// The process in between is a copy of this process, so the cost grows with
    /// the memory in use, as that of [`Engine::Copied`], whichever engine makes
    /// the program's process. For a moment there are two processes more. If
    /// another process kills the one in between, the call fails, and the
    /// program is killed, unless it has another user by then; where a seccomp
    /// filter rejects every wait as well, the call does not return then.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`]: the step that failed, and no process is left. A
    /// [`Command::process_group`] beside it is an error, as with
    /// [`Command::setsid`]. [`Step::Stdin`], [`Step::Stdout`] or
    /// [`Step::Stderr`] for a pipe. [`Step::Clone`], naming the option, for
    /// what belongs to the parent of the program or runs there:
    /// [`Command::before_exec`], [`Command::parent_death_signal`],
    /// [`Command::die_with_parent`], [`Command::ptrace_traceme`],
    /// [`Command::own_cgroup`], [`Command::seccomp_with_listener`],
    /// [`Command::autoreap`], [`Command::autokill`]; and for
    /// [`Engine::Pipe`].
    /// [`Step::Clone`] with EOPNOTSUPP if this process has unshared its PID
    /// namespace: the process in between would be its init.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let mut daemon = Command::new("true");
    /// let daemon = daemon.stdin(Stdio::null()).current_dir("/").detach()?;
    /// if let Some(pidfd) = daemon.pidfd() {
    ///     // Readable once it has ended.
    ///     poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`prctl(2)`]: https://man7.org/linux/man-pages/man2/prctl.2.html
    /// [`Stdio::null`]: crate::Stdio::null
    pub fn detach(&mut self) -> Result<Detached, Error> {
        Prepared::new(self.compile_detached()?)?.run_detached()
    }

    /// As [`Command::plan`], for [`Command::detach`]: with its session, and
    /// with the process in between.
    ///
    /// # Errors
    ///
    /// As [`Command::plan`], and for what `detach` refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = offshoot::Command::new("/bin/true").detach_plan()?;
    /// assert!(plan.to_string().contains("a process in between"));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn detach_plan(&self) -> Result<Plan, Error> {
        self.compile_detached().map(|plan| *plan)
    }

    fn compile_detached(&self) -> Result<Box<Plan>, Error> {
        let mut options = self.options.clone();
        options.session.setsid = true;
        let inherit = |_: usize| StdioSource::Inherit;
        let mut plan = order::compile(&options, inherit, false)?;
        check(&plan, Parentage::Detached)?;
        plan.parentage = Parentage::Detached;
        Ok(plan)
    }
}

impl Prepared {
    /// Starts the program as [`Command::detach`] does: as a process that is
    /// not a child of this one. It is the leader of a session if it was
    /// prepared so, with [`Command::setsid`] or
    /// [`Command::controlling_terminal`], and is refused otherwise.
    ///
    /// # Errors
    ///
    /// As [`Command::detach`], except for what [`Command::prepare`] has
    /// checked, and EBADF as in [`Prepared::spawn`]. [`Step::Setsid`], naming
    /// `setsid`, if it was prepared without a session.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio, Step};
    ///
    /// let mut worker = Command::new("true");
    /// let error = worker.stdin(Stdio::null()).prepare()?.detach().unwrap_err();
    /// assert_eq!(error.step(), Step::Setsid);
    /// let worker = worker.setsid(true).prepare()?;
    /// for _ in 0..2 {
    ///     assert!(worker.detach()?.id() > 0);
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn detach(&self) -> Result<Detached, Error> {
        self.check_fd_table()?;
        // One that may fail in the child does not count.
        if !self.plan.effects().any(|effect| effect == Effect::Session) {
            let why = "a detached program leads a session, and this one was \
                       prepared without";
            return Err(Error::refused(Step::Setsid, why).with("setsid"));
        }
        check(&self.plan, Parentage::Detached)?;
        self.run_detached()
    }

    /// Has a stack frame of its own.
    #[inline(never)]
    fn run_detached(&self) -> Result<Detached, Error> {
        let group = self.plan.open_cgroup()?;
        let pipes = StdioPipes::new(&self.plan, &self.source_fds)?;
        self.run_elsewhere(&pipes, group.as_ref(), Parentage::Detached)
            .map_err(explain_init)
    }
}

/// Says why a detached program cannot be started: it would end with the
/// process that starts it.
fn explain_init(error: Error) -> Error {
    const INIT: &str = "detach: this process has unshared its PID namespace, \
                        and the process in between would be the init of the \
                        new one";
    const ERRNO: i32 = libc::EOPNOTSUPP;
    match error.is_clone_error(&[ERRNO]) {
        true => Error::explained(Step::Clone, ERRNO, INIT),
        false => error,
    }
}

/// Refuses what belongs to the parent of the program or runs there, and pipes,
/// which a `Detached` does not have.
pub(super) fn check(plan: &Plan, parentage: Parentage) -> Result<(), Error> {
    let sibling = parentage == Parentage::Sibling;
    let why =
        |detached, of_sibling| if sibling { of_sibling } else { detached };
    let method = why("detach", "spawn_sibling");
    let other = why(
        "the parent of a detached program is another process",
        "the parent of a sibling is the parent of this process",
    );
    let no_pipe = why(
        "nothing reads or writes a detached program's pipe",
        "a sibling is returned without its pipes: pass one end as a file",
    );
    let engine = why(
        "the engine pipe cannot detach",
        "the engine pipe cannot make a sibling",
    );
    for (n, source) in (0u8..).zip(&plan.stdio) {
        if matches!(source, StdioSource::Piped) {
            return Err(Error::refused(stdio_step(n), no_pipe).with(method));
        }
    }
    let pipe = plan.strategy.engine == Engine::Pipe;
    let thread = plan.parent_death == Some(ParentDeath::Thread);
    let process = plan.parent_death == Some(ParentDeath::Process);
    for (is_set, option, why) in [
        (!plan.parent_hooks.is_empty(), "before_exec", other),
        (plan.owns_cgroup, "own_cgroup", other),
        (thread, "parent_death_signal", other),
        (process, "die_with_parent", other),
        (plan.traced, "ptrace_traceme", other),
        (plan.listener, "seccomp_with_listener", other),
        (plan.is_autoreaped(), plan.end_option(), other),
        (pipe, "engine", engine),
    ] {
        if is_set {
            return Err(Error::refused(Step::Clone, why).with(option));
        }
    }
    Ok(())
}
