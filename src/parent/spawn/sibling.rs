//! `spawn_sibling`: a program that is a child of this process's parent.

use super::detach::check;
use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use crate::parent::command::{Command, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::handle::Detached;
use crate::parent::order;
use crate::parent::plan::{Parentage, Plan};
use crate::parent::std::boxed::Box;
use crate::sys::safe::getpid;

impl Command {
    /// Starts the program as a child of this process's *parent*
    /// (`CLONE_PARENT`), and returns once it runs. This is for a helper of a
    /// service manager, a shell or another subreaper, which starts programs on
    /// its behalf: the parent waits for the program and gets its SIGCHLD, as
    /// if it had started it itself, and this process need not stay.
    ///
    /// This process cannot wait for it: [`waitid(2)`] fails with ECHILD. The
    /// parent must know of it, and reap it. What the program inherits is, as
    /// with [`Command::spawn`], from this process.
    ///
    /// # A failed start
    ///
    /// If a step fails in the child, this process gets the same error as from
    /// [`Command::spawn`], but the *parent* gets a zombie to reap, and SIGCHLD:
    /// a child with exit code 127, or killed by a signal, that was never the
    /// program. So there is one attempt, where `spawn` makes others: a program
    /// that is open for writing is an error at once (ETXTBSY), a script needs
    /// its `#!` line ([`Command::shell_fallback`] has no effect), and where it
    /// is not known that a faster way works here, a slower one is used
    /// ([`Launch::fallbacks`]). What is found before there is a child leaves
    /// nothing: options that are not valid, files of this process that cannot
    /// be opened, no process id. Prepare the command to find more of it at a
    /// time of your choice.
    ///
    /// # Whether the program runs
    ///
    /// If a signal kills the child about the time of its exec, and the parent
    /// has reaped it before this process looks, nothing tells a program that
    /// was killed from a child that was: [`Launch::confirmed`] is false then.
    ///
    /// A SIGTSTP, SIGTTIN or SIGTTOU that stops it before exec, in an engine
    /// with private memory, is undone by SIGCONT, if `/proc` shows that it was
    /// one of these; otherwise this process waits until another continues it,
    /// as after SIGSTOP.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`]. [`Step::Clone`] with EINVAL if this process is
    /// the init of its PID namespace, which has no siblings. [`Step::Stdin`],
    /// [`Step::Stdout`] or [`Step::Stderr`] for a pipe. [`Step::Clone`], naming
    /// the option, for what is about the parent of the program, or is done by
    /// it: [`Command::before_exec`], [`Command::parent_death_signal`],
    /// [`Command::die_with_parent`], [`Command::ptrace_traceme`],
    /// [`Command::own_cgroup`], [`Command::seccomp_with_listener`]; and for
    /// [`Engine::Pipe`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{CloneFlags, Command, Stdio};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// # if std::process::id() == 1 {
    /// #     return Ok(());
    /// # }
    /// let mut job = Command::new("true");
    /// let job = job.stdin(Stdio::null()).spawn_sibling()?;
    /// assert!(job.launch().flags().contains(CloneFlags::PARENT));
    /// if let Some(pidfd) = job.pidfd() {
    ///     // Readable once it has ended.
    ///     poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    /// [`Engine::Pipe`]: crate::Engine::Pipe
    /// [`Launch::confirmed`]: crate::Launch::confirmed
    /// [`Launch::fallbacks`]: crate::Launch::fallbacks
    pub fn spawn_sibling(&mut self) -> Result<Detached, Error> {
        Prepared::new(self.compile_sibling()?)?.run_sibling()
    }

    /// As [`Command::plan`], for [`Command::spawn_sibling`].
    ///
    /// # Errors
    ///
    /// As [`Command::plan`], and for options that `spawn_sibling` refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = offshoot::Command::new("/bin/true").sibling_plan()?;
    /// assert!(plan.to_string().contains("PARENT"));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn sibling_plan(&self) -> Result<Plan, Error> {
        self.compile_sibling().map(|plan| *plan)
    }

    fn compile_sibling(&self) -> Result<Box<Plan>, Error> {
        let inherit = |_: usize| StdioSource::Inherit;
        let mut plan = order::compile(&self.options, inherit, false)?;
        plan.parentage = Parentage::Sibling;
        check(&plan, Parentage::Sibling)?;
        Ok(plan)
    }
}

impl Prepared {
    /// Starts the program as [`Command::spawn_sibling`] does: as a child of
    /// this process's parent.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn_sibling`], except for what [`Command::prepare`] has
    /// checked, and EBADF as in [`Prepared::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// # if std::process::id() == 1 {
    /// #     return Ok(());
    /// # }
    /// let job = offshoot::Command::new("/bin/true").prepare()?;
    /// for _ in 0..2 {
    ///     assert!(job.spawn_sibling()?.id() > 0);
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn spawn_sibling(&self) -> Result<Detached, Error> {
        self.check_fd_table()?;
        check(&self.plan, Parentage::Sibling)?;
        self.run_sibling()
    }

    /// Has a stack frame of its own.
    #[inline(never)]
    fn run_sibling(&self) -> Result<Detached, Error> {
        if getpid() == 1 {
            let why = "the init of a PID namespace has no siblings";
            return Err(Error::explained(Step::Clone, libc::EINVAL, why));
        }
        let group = self.plan.open_cgroup()?;
        let pipes = StdioPipes::new(&self.plan, &self.source_fds)?;
        self.run_elsewhere(&pipes, group.as_ref(), Parentage::Sibling)
    }
}
