//! `Child`: a running program, for tasks.

use core::future::poll_fn;
use core::mem;
use core::task::Poll;

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;
use ::tokio::runtime::Handle;

use super::pipes::{ChildStderr, ChildStdin, ChildStdout, Reader, failed};
use crate::parent::error::{Error, Step};
use crate::parent::handle::{Child as SyncChild, Owner, Process};
use crate::parent::std::os::fd::{AsRawFd, RawFd};
use crate::parent::std::process::{ExitStatus, Output};

/// A running program, from [`Command::spawn`]. Its drop is described at
/// [`offshoot::tokio`](crate::tokio).
///
/// [`Command::spawn`]: super::Command::spawn
#[derive(Debug)]
pub struct Child {
    inner: Inner,
    has_ended: bool,
    /// The parent's end of its standard input, if that is piped.
    pub stdin: Option<ChildStdin>,
    /// The parent's end of its standard output, if that is piped.
    pub stdout: Option<ChildStdout>,
    /// The parent's end of its standard error, if that is piped.
    pub stderr: Option<ChildStderr>,
}

/// The child, and its pidfd in the runtime.
#[derive(Debug)]
struct Inner {
    /// `None` once it is being dropped.
    watched: Option<(SyncChild, AsyncFd<Watched>)>,
    runtime: Handle,
    kills: bool,
    owner: Owner,
}

/// A process that has a pidfd, which is open as long as this exists.
#[derive(Debug)]
struct Watched(Process);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.pidfd().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Watched {
    /// Waits for the end, and reaps.
    async fn wait(this: &AsyncFd<Watched>) -> Result<ExitStatus, Error> {
        loop {
            let process = &this.get_ref().0;
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            let ready = this.readable().await;
            let mut ready = ready.map_err(failed(Step::Wait))?;
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            // It was woken for nothing: a debugger has not let it go.
            ready.clear_ready();
        }
    }
}

impl Child {
    /// After an error the child has been killed and reaped.
    pub(super) fn new(
        mut child: SyncChild,
        kills: bool,
    ) -> Result<Child, Error> {
        // Also if the runtime panics, as its IO is not enabled.
        child.kill_on_drop(true);
        let made = Child::parts(&mut child);
        let (watched, stdin, stdout, stderr) = match made {
            Ok(parts) => parts,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        child.kill_on_drop(false);
        let watched = Some((child, watched));
        let runtime = Handle::current();
        let inner = Inner { watched, runtime, kills, owner: Owner::this() };
        Ok(Child { inner, has_ended: false, stdin, stdout, stderr })
    }

    #[allow(
        clippy::type_complexity,
        reason = "the fields of one struct, which has a drop"
    )]
    fn parts(
        child: &mut SyncChild,
    ) -> Result<
        (
            AsyncFd<Watched>,
            Option<ChildStdin>,
            Option<ChildStdout>,
            Option<ChildStderr>,
        ),
        Error,
    > {
        if child.pidfd().is_none() {
            let why = "no descriptor was free for the pidfd, which a task \
                       waits by, or Linux is older than 5.3";
            return Err(Error::refused_as(Step::Pidfd, libc::EMFILE, why));
        }
        let stdin = child.stdin.take().map(ChildStdin::new).transpose()?;
        let stdout = child.stdout.take().map(ChildStdout::new).transpose()?;
        let stderr = child.stderr.take().map(ChildStderr::new).transpose()?;
        #[allow(
            deprecated,
            reason = "what replaces it is unsafe, for types whose number may \
                      change"
        )]
        let watched = AsyncFd::with_interest(
            Watched(child.process()),
            Interest::READABLE,
        );
        let watched = watched.map_err(failed(Step::Pidfd))?;
        Ok((watched, stdin, stdout, stderr))
    }

    /// Returns the process id; `None` once a wait has returned its status.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match &self.inner.watched {
            Some((child, _)) if !self.has_ended => Some(child.id()),
            _ => None,
        }
    }

    /// Returns a handle that waits for the child and signals it from any
    /// thread, without the runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let mut sleep = offshoot::tokio::Command::new("sleep").arg("60").spawn()?;
    /// sleep.process().signal(15)?;
    /// assert!(!sleep.wait().await?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::missing_panics_doc, reason = "it is there until the drop")]
    pub fn process(&self) -> Process {
        let (_, watched) = self.inner.watched.as_ref().expect("until drop");
        watched.get_ref().0.clone()
    }

    /// Sends SIGKILL, if the child has not ended, and does not wait.
    ///
    /// # Errors
    ///
    /// As [`crate::Child::kill`].
    pub fn start_kill(&mut self) -> Result<(), Error> {
        self.process().kill()
    }

    /// Sends SIGKILL, and waits for the end. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`Child::start_kill`] and [`Child::wait`].
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.start_kill()?;
        self.wait().await?;
        Ok(())
    }

    /// Waits until the child ends, after closing the parent's end of its
    /// standard input. Further calls return the same status. Cancel safe: it
    /// can be used in `select!` again and again.
    ///
    /// # Errors
    ///
    /// As [`crate::Child::wait`]; [`Step::Wait`], if the runtime was shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let mut child = offshoot::tokio::Command::new("true").spawn()?;
    /// assert!(child.wait().await?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn wait(&mut self) -> Result<ExitStatus, Error> {
        mem::drop(self.stdin.take());
        let Some((_, watched)) = &self.inner.watched else {
            return Err(Error::refused(Step::Wait, "it was dropped"));
        };
        let status = Watched::wait(watched).await?;
        self.has_ended = true;
        Ok(status)
    }

    /// Returns the status if the child has ended, `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`crate::Child::wait`].
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        let status = self.process().try_wait()?;
        self.has_ended = status.is_some();
        Ok(status)
    }

    /// Closes the parent's end of the child's standard input, reads its
    /// standard output and standard error to end of file, both at once, and
    /// waits for it, as [`crate::Child::wait_with_output`].
    ///
    /// Dropping the future drops the child and what was read.
    ///
    /// # Errors
    ///
    /// [`Step::Read`], if a pipe cannot be read; and as [`Child::wait`].
    pub async fn wait_with_output(mut self) -> Result<Output, Error> {
        mem::drop(self.stdin.take());
        let mut out = Reader::new(self.stdout.take());
        let mut err = Reader::new(self.stderr.take());
        poll_fn(|cx| {
            let (out, err) = (out.poll(cx)?, err.poll(cx)?);
            match out.is_ready() && err.is_ready() {
                true => Poll::Ready(Ok::<(), Error>(())),
                false => Poll::Pending,
            }
        })
        .await?;
        let status = self.wait().await?;
        let (stdout, stderr) = (out.into_bytes(), err.into_bytes());
        Ok(Output { status, stdout, stderr })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some((mut child, watched)) = self.watched.take() else { return };
        if self.owner.is_another() {
            // A fork has no part in it, and its runtime shares the epoll
            // instance with that of the parent.
            mem::forget(watched);
            return;
        }
        // The task below keeps its pidfd open.
        if self.kills || child.is_killed_by_kernel() {
            let _ = child.kill();
        }
        if let Ok(None) = child.try_wait() {
            // If the runtime drops the task.
            child.reap_on_drop(true);
            let task = async move {
                let _ = Watched::wait(&watched).await;
                mem::drop(child);
            };
            mem::drop(self.runtime.spawn(task));
        }
    }
}
