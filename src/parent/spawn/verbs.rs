//! Methods of a command: plan, prepare, spawn, output, status, exec.

use super::prepared::Prepared;
use super::start::Watched;
use super::stdio_pipes::{StdioPipes, piped};
use crate::parent::command::{Command, ParentDeath, StdioSource};
use crate::parent::error::{Error, Step};
use crate::parent::handle::Child;
use crate::parent::order;
use crate::parent::plan::Plan;
use crate::parent::std::boxed::Box;
use crate::parent::std::process::{ExitStatus, Output};

impl Command {
    /// Validates the options and compiles the plan, which displays as the
    /// list of the child's steps. Opens no file, but those of the user database
    /// for [`Command::user`], and creates no process.
    ///
    /// # Errors
    ///
    /// The step of the option that is not valid: a NUL byte, an empty name, a
    /// variable's name with `=`. [`Step::Exec`] if the program's name has no
    /// slash and PATH no directory to search.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// println!("{}", Command::new("tar").current_dir("/srv").plan()?);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn plan(&self) -> Result<Plan, Error> {
        self.compile(|_| StdioSource::Inherit, false).map(|plan| *plan)
    }

    /// Compiles the command for many spawns. Later changes of the command,
    /// the environment or PATH have no effect on it.
    ///
    /// # Errors
    ///
    /// As [`Command::plan`]; EMFILE, if no descriptor is free for
    /// `/dev/null`; EBADF, if a descriptor that an option names is not open.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let prepared = Command::new("/bin/true").prepare()?;
    /// for _ in 0..3 {
    ///     assert!(prepared.spawn()?.wait()?.success());
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn prepare(&self) -> Result<Prepared, Error> {
        Prepared::new(self.compile(|_| StdioSource::Inherit, false)?)
    }

    /// Starts the program and returns once it runs. After an error no child
    /// is left.
    ///
    /// With the engines suspended and isolated the kernel suspends the caller
    /// until exec; only a fatal signal wakes it. If SIGSTOP stops the child
    /// before exec, the caller waits for SIGCONT. A SIGTSTP, SIGTTIN or
    /// SIGTTOU before exec is delivered to the program if it stops the caller
    /// as well and the caller has one thread, and is discarded otherwise;
    /// just before exec it has the effect of SIGSTOP.
    ///
    /// # Errors
    ///
    /// As [`Command::prepare`]; and the step that failed, in the parent
    /// ([`Step::Stdin`], [`Step::Clone`]) or in the child ([`Step::Chdir`],
    /// [`Step::Exec`]). While the program is open for writing (ETXTBSY), exec
    /// is repeated for about 30 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("/bin/true").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn spawn(&mut self) -> Result<Child, Error> {
        self.spawn_with(|_| StdioSource::Inherit)
    }

    /// Starts the program, waits for it and collects what it writes to
    /// standard output and standard error, unless these are set to something
    /// else. Standard input is `/dev/null` by default.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("echo").arg("hi").output()?;
    /// assert_eq!(output.stdout, b"hi\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn output(&mut self) -> Result<Output, Error> {
        self.spawn_for_output()?.wait_with_output()
    }

    /// Starts the program and waits for it.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(offshoot::Command::new("/bin/true").status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn status(&mut self) -> Result<ExitStatus, Error> {
        self.spawn()?.wait()
    }

    /// Replaces this process by the program, as [`execve(2)`]: the steps run
    /// in this process. Returns only if one of them fails. The program gets
    /// this thread's signal mask, as hooks left it.
    ///
    /// After an error every descriptor of this process is restored, with its
    /// number, file and close-on-exec flag; so are the signal mask, the
    /// actions of the signals that options set, and the parent death signal.
    /// All other effects of the steps before the failed one remain: directory,
    /// root, umask, session, process group, control group, ids, limits,
    /// scheduling, the attributes of the process and its memory, O_NONBLOCK of
    /// files, `no_new_privs`, the session keyring, a label for the next exec,
    /// being traced, and those of hooks. Filters and Landlock stay with this
    /// thread. Signals are blocked in this thread while the steps run, but for
    /// the exec itself: there, and in other threads, a signal that an option
    /// gave its default action may end this process, and a child that ends
    /// while SIGCHLD is ignored is reaped. A record lock ([`fcntl(2)`],
    /// `F_SETLK`) on a file whose number was overwritten is lost.
    ///
    /// # Threads
    ///
    /// Exec ends all other threads. Until then they run, and the steps affect
    /// them: a number that an option assigns ([`Command::fd`],
    /// [`Command::stdin`]) has its new file for them too, until exec fails.
    /// Do not assign numbers that other threads use. If another thread closes
    /// or opens a file at such a number after the step, that remains; if it
    /// does so in the few microseconds between the backup and the step, its
    /// file is lost. A descriptor that it opens meanwhile may keep the
    /// close-on-exec flag.
    ///
    /// Ids and groups change for all threads, as in std: by libc's
    /// [`setresuid(2)`], `setresgid` and `setgroups`, each of which affects
    /// all threads or none, except threads that libc did not create.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`], without the errors of creating a process.
    /// [`Command::set_tid`] is an error. EMFILE, with the step of the option
    /// that assigns a number, if no descriptor is free for a copy of what is
    /// open there; no step has run then.
    ///
    /// [`execve(2)`]: https://man7.org/linux/man-pages/man2/execve.2.html
    /// [`fcntl(2)`]: https://man7.org/linux/man-pages/man2/fcntl_locking.2.html
    /// [`setresuid(2)`]: https://man7.org/linux/man-pages/man2/setresuid.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let error = Command::new("/no/such/program").exec();
    /// assert_eq!(error.step(), Step::Exec);
    /// ```
    #[must_use = "it only returns if it failed"]
    pub fn exec(&mut self) -> Error {
        let plan = self.compile(|_| StdioSource::Inherit, true);
        plan.and_then(Prepared::exec).unwrap_or_else(|error| error)
    }

    /// Starts the program with the defaults of `output`.
    pub(crate) fn spawn_for_output(&self) -> Result<Child, Error> {
        self.spawn_with(piped)
    }

    pub(super) fn spawn_with(
        &self,
        default: impl Fn(usize) -> StdioSource,
    ) -> Result<Child, Error> {
        Prepared::spawn_once(self.compile(default, false)?, None)
    }

    pub(super) fn compile(
        &self,
        default: impl Fn(usize) -> StdioSource,
        in_place: bool,
    ) -> Result<Box<Plan>, Error> {
        order::compile(&self.options, default, in_place)
    }
}

impl Prepared {
    /// Starts the program and returns once it runs. After an error no child
    /// is left.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`], except for what [`Command::prepare`] has
    /// checked. EBADF, with the step of the option that names a descriptor,
    /// if this thread has a descriptor table of its own, without that
    /// descriptor ([`unshare(2)`]).
    ///
    /// [`unshare(2)`]: https://man7.org/linux/man-pages/man2/unshare.2.html
    pub fn spawn(&self) -> Result<Child, Error> {
        self.spawn_watched(None)
    }

    pub(super) fn spawn_watched(
        &self,
        watched: Option<Watched<'_>>,
    ) -> Result<Child, Error> {
        self.check_fd_table()?;
        if let Some(check) = self.plan.death_signal {
            // The caller may have changed its ids since.
            let process = self.plan.parent_death == Some(ParentDeath::Process);
            check.refuse_cleared(process)?;
        }
        let group = self.plan.open_cgroup()?;
        let pipes = StdioPipes::new(&self.plan, &self.source_fds)?;
        self.run_with(pipes, group, watched)
    }

    /// Starts the program and waits for it.
    ///
    /// # Errors
    ///
    /// As [`Prepared::spawn`] and [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// let prepared = offshoot::Command::new("/bin/true").prepare()?;
    /// assert!(prepared.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn status(&self) -> Result<ExitStatus, Error> {
        self.spawn()?.wait()
    }

    /// Starts the program, waits for it and collects what it writes to the
    /// descriptors that were prepared as pipes. Unlike [`Command::output`]
    /// it changes no default: 0, 1 and 2 are as they were prepared.
    ///
    /// # Errors
    ///
    /// [`Step::Stdout`], before any process is created, if neither standard
    /// output nor standard error is a pipe, so that there is nothing to
    /// collect. Otherwise as [`Prepared::spawn`] and
    /// [`Child::wait_with_output`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut echo = Command::new("echo");
    /// let echo = echo.arg("hi").stdout(Stdio::piped()).prepare()?;
    /// assert_eq!(echo.output()?.stdout, b"hi\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn output(&self) -> Result<Output, Error> {
        let [_, out, err] = &self.plan.stdio;
        let piped =
            |source: &StdioSource| matches!(source, StdioSource::Piped);
        if !piped(out) && !piped(err) {
            let why = "neither output nor error is prepared as a pipe";
            return Err(Error::refused(Step::Stdout, why));
        }
        self.spawn()?.wait_with_output()
    }
}
