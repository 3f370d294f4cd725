//! The verbs of a command: plan, prepare, spawn, output, status, exec.

use super::prepared::Prepared;
use super::stdio_pipes::StdioPipes;
use crate::parent::command::Command;
use crate::parent::command::cgroup::Cgroup;
use crate::parent::command::stdio::StdioSource;
use crate::parent::error::{Error, Step};
use crate::parent::handle::Child;
use crate::parent::order;
use crate::parent::plan::Plan;
use crate::parent::std::boxed::Box;
use crate::parent::std::process::{ExitStatus, Output};

impl Command {
    /// Compiles the wishes and makes nothing: what the child would do can be
    /// read (it displays), and mistakes show.
    ///
    /// # Errors
    ///
    /// What was refused, naming the option: a NUL byte, an empty name, a
    /// variable's name with `=`; [`Step::Exec`](crate::Step::Exec) if a bare
    /// name has no directory to be looked for in.
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

    /// Compiles the wishes for many spawns. The environment, PATH and all
    /// that was wished are taken as they are now.
    ///
    /// # Errors
    ///
    /// As [`Command::plan`]; EMFILE, if `/dev/null` cannot be opened.
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

    /// Starts the program. Returns once it runs: an error means that no
    /// child is left.
    ///
    /// The caller sleeps until exec, in a state in which only a signal that
    /// ends the process wakes it; a child that is stopped (SIGSTOP) in that
    /// gap holds it until SIGCONT. Of the stops that a terminal sends
    /// (SIGTSTP, SIGTTIN, SIGTTOU) only one in the last instant does; an
    /// earlier one comes to the program, if it stops the caller as well, and
    /// the caller has one thread, or is dropped.
    ///
    /// # Errors
    ///
    /// As [`Command::plan`], then what failed in the parent
    /// ([`Step::Stdin`](crate::Step::Stdin) and its like,
    /// [`Step::Clone`](crate::Step::Clone)) or in the child, with the exact
    /// step. A program that is open for writing (ETXTBSY) is tried again for
    /// about 30 ms first.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("/bin/true").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn spawn(&mut self) -> Result<Child, Error> {
        self.start(|_| StdioSource::Inherit)
    }

    /// Starts the program, waits for it and collects what it writes.
    /// Standard input is `/dev/null` unless wished otherwise.
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
        let default = |n| match n {
            0 => StdioSource::Null,
            _ => StdioSource::Piped,
        };
        self.start(default)?.wait_with_output()
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

    /// Becomes the program: the steps run in this process, which does not
    /// return unless one of them fails. The signal mask is the thread's own,
    /// as hooks have changed it.
    ///
    /// After an error every descriptor of this process is as it was, its
    /// number, its file and its close-on-exec flag, and so are the signal
    /// mask and what becomes of SIGPIPE. What else was done before the
    /// failing step stays: directory, root, umask, session, process group,
    /// control group and ids, and what hooks did. A record lock
    /// ([`fcntl(2)`], `F_SETLK`) on a file whose number was written over is
    /// lost.
    ///
    /// # Threads
    ///
    /// Exec ends all other threads. Until then they run on, and see what the
    /// steps do: a number that is given another file ([`Command::fd`],
    /// [`Command::stdin`]) has that for them too, until exec fails and it is
    /// put back; a spawn by another thread that uses such a number meanwhile
    /// uses that file. So give nothing a number that other threads use. What
    /// another thread closes or opens at such a number after the step is left
    /// as it is, but not what it closes or opens between the backup and the
    /// step, a few microseconds before: there its file is lost. A descriptor
    /// that it opens meanwhile may stay marked close-on-exec.
    ///
    /// Ids and groups change for all threads, by libc's [`setresuid(2)`] and
    /// its fellows, as in std. Each of these is done for all threads or for
    /// none, unless a thread was not made by libc.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`], but for the making of a child.
    /// [`Command::set_tid`] is refused: no process is made. EMFILE of the
    /// option that names a number, if there is no descriptor free to keep
    /// what is open there: nothing has been done then.
    ///
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
        match self.compile(|_| StdioSource::Inherit, true) {
            Ok(plan) => Prepared::exec(plan),
            Err(error) => error,
        }
    }

    /// One launch.
    fn start(
        &self,
        default: impl Fn(usize) -> StdioSource,
    ) -> Result<Child, Error> {
        Prepared::spawn_once(self.compile(default, false)?)
    }

    fn compile(
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
        self.check_fd_table()?;
        let group = self.plan.cgroup.as_ref().map(Cgroup::open).transpose()?;
        let pipes = StdioPipes::new(&self.plan, &self.source_fds)?;
        self.run_with(pipes, group.as_ref())
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
