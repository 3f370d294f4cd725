//! `Command`: a builder, whose programs are waited for by tasks.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use ::tokio::runtime::Handle;

use super::Child;
use crate::parent::command::{Command as SyncCommand, Stdio};
use crate::parent::error::Error;
use crate::parent::handle::Child as SyncChild;
use crate::parent::spawn::starting::Starting;
use crate::parent::std::ffi::OsStr;
use crate::parent::std::path::Path;
use crate::parent::std::process::{ExitStatus, Output};

/// A builder for a process, as [`crate::Command`], whose [`Child`] is waited
/// for by tasks of tokio.
///
/// It has the setters of `tokio::process::Command`;
/// [`as_sync_mut`](Command::as_sync_mut) has all others.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// # runtime.block_on(async {
/// let mut echo = offshoot::tokio::Command::new("echo");
/// echo.arg("hi").as_sync_mut().umask(0o077);
/// assert_eq!(echo.output().await?.stdout, b"hi\n");
/// # Ok::<(), offshoot::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Command {
    command: SyncCommand,
    kill_on_drop: bool,
}

impl From<SyncCommand> for Command {
    fn from(command: SyncCommand) -> Command {
        Command { command, kill_on_drop: false }
    }
}

impl Command {
    /// Creates a command, as [`crate::Command::new`].
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        SyncCommand::new(program).into()
    }

    /// Returns the options.
    #[must_use]
    pub fn as_sync(&self) -> &SyncCommand {
        &self.command
    }

    /// Returns the options, to set those that this type has no setter for.
    pub fn as_sync_mut(&mut self) -> &mut SyncCommand {
        &mut self.command
    }

    /// Converts it into the options, without `kill_on_drop`.
    #[must_use]
    pub fn into_sync(self) -> SyncCommand {
        self.command
    }

    /// As [`crate::Command::arg`].
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.command.arg(arg);
        self
    }

    /// As [`crate::Command::args`].
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// As [`crate::Command::arg0`].
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.command.arg0(arg);
        self
    }

    /// As [`crate::Command::env`].
    pub fn env<K, V>(&mut self, key: K, value: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.env(key, value);
        self
    }

    /// As [`crate::Command::envs`].
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.command.envs(variables);
        self
    }

    /// As [`crate::Command::env_remove`].
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.command.env_remove(key);
        self
    }

    /// As [`crate::Command::env_clear`].
    pub fn env_clear(&mut self) -> &mut Command {
        self.command.env_clear();
        self
    }

    /// As [`crate::Command::current_dir`].
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.command.current_dir(dir);
        self
    }

    /// As [`crate::Command::stdin`].
    pub fn stdin<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.command.stdin(stdio);
        self
    }

    /// As [`crate::Command::stdout`].
    pub fn stdout<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.command.stdout(stdio);
        self
    }

    /// As [`crate::Command::stderr`].
    pub fn stderr<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.command.stderr(stdio);
        self
    }

    /// As [`crate::Command::uid`].
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.command.uid(id);
        self
    }

    /// As [`crate::Command::gid`].
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.command.gid(id);
        self
    }

    /// As [`crate::Command::process_group`].
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.command.process_group(group);
        self
    }

    /// Sets whether dropping the [`Child`], or the future of
    /// [`output`](Command::output) or [`status`](Command::status), kills the
    /// program. It is reaped by a task.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// Returns what [`Command::kill_on_drop`] has set.
    #[must_use]
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// Starts the program and returns once it runs. The calling thread waits
    /// for that: see [`offshoot::tokio`](crate::tokio), and
    /// [`Command::spawn_async`].
    ///
    /// # Errors
    ///
    /// As [`crate::Command::spawn`]; [`Step::Pidfd`](crate::Step::Pidfd), if the
    /// child has no pidfd, as no descriptor is free (EMFILE) or before Linux
    /// 5.3: the program was started, and killed. After an error no child is
    /// left.
    ///
    /// # Panics
    ///
    /// Without a runtime, or if its IO is not enabled.
    #[track_caller]
    pub fn spawn(&mut self) -> Result<Child, Error> {
        // Panics before the program is started.
        drop(Handle::current());
        Child::new(self.command.spawn()?, self.kill_on_drop)
    }

    /// Begins to start the program at once, as [`crate::Command::start`], and
    /// returns a future that has the child once the program runs. No thread of
    /// the runtime waits for that.
    ///
    /// Dropping the future before is as dropping the [`Child`]: the program
    /// starts all the same, or is killed with [`Command::kill_on_drop`].
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`crate::Command::start`].
    ///
    /// # Panics
    ///
    /// As [`Command::spawn`].
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let mut child = offshoot::tokio::Command::new("true").spawn_async().await?;
    /// assert!(child.wait().await?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_async(
        &mut self,
    ) -> impl Future<Output = Result<Child, Error>> + use<> {
        // Panics before the program is started.
        drop(Handle::current());
        let starting = self.command.start();
        self.launch(starting)
    }

    fn launch(
        &self,
        starting: Result<Starting, Error>,
    ) -> impl Future<Output = Result<Child, Error>> + use<> {
        let kills = self.kill_on_drop;
        let launch = starting
            .map(|starting| Launch { starting: Some(starting), kills });
        async move { Child::new(launch?.await?, kills) }
    }

    /// Begins to start the program at once, as
    /// [`spawn_async`](Command::spawn_async), and returns a future that waits
    /// for its end. Pipes are closed.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn_async`] and [`Child::wait`].
    ///
    /// # Panics
    ///
    /// As [`Command::spawn`].
    #[track_caller]
    pub fn status(
        &mut self,
    ) -> impl Future<Output = Result<ExitStatus, Error>> + use<> {
        let child = self.spawn_async();
        async move {
            let mut child = child.await?;
            drop((child.stdin.take(), child.stdout.take()));
            drop(child.stderr.take());
            child.wait().await
        }
    }

    /// Begins to start the program at once, as
    /// [`spawn_async`](Command::spawn_async), and returns a future that waits
    /// for its end and has what it writes, with the defaults of
    /// [`crate::Command::output`].
    ///
    /// # Errors
    ///
    /// As [`Command::spawn_async`] and [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// As [`Command::spawn`].
    #[track_caller]
    pub fn output(
        &mut self,
    ) -> impl Future<Output = Result<Output, Error>> + use<> {
        // Panics before the program is started.
        drop(Handle::current());
        let child = self.launch(self.command.start_for_output());
        async move { child.await?.wait_with_output().await }
    }
}

/// A start, until it has led to a child.
struct Launch {
    starting: Option<Starting>,
    kills: bool,
}

impl Future for Launch {
    type Output = Result<SyncChild, Error>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        match &mut self.starting {
            Some(starting) => Pin::new(starting).poll(context),
            None => Poll::Pending,
        }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if let Some(starting) = self.starting.take() {
            starting.drop_at_once(self.kills);
        }
    }
}
