//! `Starting`: a program that another thread starts.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::progress::{Progress, Started};
use crate::parent::error::{Error, Step};
use crate::parent::handle::{Child, deadline_after};
use crate::parent::std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use crate::parent::std::sync::Arc;
#[cfg(feature = "tokio")]
use crate::parent::std::time::Instant;
use crate::sys::fork_detection::Owner;

const TAKEN: &str = "the child of this start was returned before";

/// A program that is being started, from
/// [`Command::start`](crate::Command::start).
///
/// It has a descriptor ([`AsFd`]), which is readable from the moment when the
/// program runs or its start has failed, for [`poll(2)`], [`epoll(7)`] and
/// event loops; and it is a [`Future`] of any runtime.
///
/// # Drop
///
/// Dropping it cancels the start, as [`Starting::cancel`] does, which may take
/// about 0.2 s where the child cannot be ended, unless its child or its error was
/// returned before. In a fork of this process the drop does nothing. After
/// [`mem::forget`] the program
/// is started all the same, nobody waits for it, and the memory and the
/// descriptors of its start are never released.
///
/// [`mem::forget`]: https://doc.rust-lang.org/std/mem/fn.forget.html
/// [`poll(2)`]: https://man7.org/linux/man-pages/man2/poll.2.html
/// [`epoll(7)`]: https://man7.org/linux/man-pages/man7/epoll.7.html
///
/// # Examples
///
/// ```
/// use offshoot::Command;
///
/// // The three programs start at the same time.
/// let mut starts = Vec::new();
/// for word in ["one", "two", "three"] {
///     starts.push(Command::new("echo").arg(word).start()?);
/// }
/// for starting in starts {
///     assert!(starting.wait()?.wait()?.success());
/// }
/// # Ok::<(), offshoot::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it cancels the start"]
pub struct Starting {
    progress: Arc<Progress>,
    ready: Arc<OwnedFd>,
    is_taken: bool,
    owner: Owner,
}

impl Starting {
    pub(super) fn new(progress: Arc<Progress>, ready: Arc<OwnedFd>) -> Self {
        Starting { progress, ready, is_taken: false, owner: Owner::this() }
    }

    /// Waits until the program runs.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`](crate::Command::spawn). [`Step::Clone`] if the
    /// child or the error was returned before.
    ///
    /// # Panics
    ///
    /// If a function of [`Command::before_exec`] has, with its message.
    ///
    /// [`Command::before_exec`]: crate::Command::before_exec
    ///
    /// # Examples
    ///
    /// ```
    /// let starting = offshoot::Command::new("true").start()?;
    /// assert!(starting.wait()?.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait(mut self) -> Result<Child, Error> {
        let started = self.progress.wait(None);
        self.is_taken = true;
        started.map_or_else(taken, Started::value)
    }

    /// Waits until the program runs or the time is over: then it returns
    /// `None`, and the start goes on.
    ///
    /// # Errors
    ///
    /// As [`Starting::wait`].
    ///
    /// # Panics
    ///
    /// As [`Starting::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut starting = offshoot::Command::new("true").start()?;
    /// let mut child = loop {
    ///     match starting.wait_timeout(Duration::from_millis(10))? {
    ///         Some(child) => break child,
    ///         None => println!("still starting"),
    ///     }
    /// };
    /// assert!(child.wait()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Child>, Error> {
        if self.is_taken {
            return taken().map(Some);
        }
        let deadline = deadline_after(timeout);
        self.child(self.progress.wait(Some(deadline)))
    }

    /// Returns the child if the program runs by now, without waiting.
    ///
    /// # Errors
    ///
    /// As [`Starting::wait`].
    ///
    /// # Panics
    ///
    /// As [`Starting::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// let mut starting = offshoot::Command::new("true").start()?;
    /// poll(&mut [PollFd::new(&starting, PollFlags::IN)], None)?;
    /// let mut child = starting.try_child()?.unwrap();
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_child(&mut self) -> Result<Option<Child>, Error> {
        if self.is_taken {
            return taken().map(Some);
        }
        self.child(self.progress.take())
    }

    fn child(
        &mut self,
        started: Option<Started>,
    ) -> Result<Option<Child>, Error> {
        // Before a panic goes on.
        self.is_taken = started.is_some();
        started.map(Started::value).transpose()
    }

    /// Kills the child if it exists, and reaps it. Returns whether nothing is
    /// left: if false, the kernel does not let go of the child (a file system
    /// that does not answer), this user may not kill it, or a function of
    /// [`Command::before_exec`](crate::Command::before_exec) has not returned;
    /// the thread that starts it waits on, and reaps it.
    ///
    /// It waits for about 0.2 s at most, usually much less.
    ///
    /// # Examples
    ///
    /// ```
    /// let starting = offshoot::Command::new("sleep").arg("60").start()?;
    /// assert!(starting.cancel());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn cancel(mut self) -> bool {
        let is_over = self.is_taken || self.progress.end_in_time();
        self.is_taken = true;
        is_over
    }
}

#[cfg(feature = "tokio")]
impl Starting {
    /// Drops it without waiting: the start is cancelled, or goes on.
    pub(crate) fn drop_at_once(mut self, kills: bool) {
        self.is_taken = true;
        if !kills {
            self.progress.abandon();
        } else if let Some(mut child) = self.progress.cancel(Instant::now()) {
            child.kill_on_drop(true);
        }
    }
}

fn taken() -> Result<Child, Error> {
    Err(Error::refused(Step::Clone, TAKEN))
}

impl AsFd for Starting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

impl Future for Starting {
    type Output = Result<Child, Error>;

    fn poll(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.is_taken {
            return Poll::Ready(taken());
        }
        let started = this.progress.poll(context);
        this.is_taken = started.is_ready();
        started.map(|it| it.map_or_else(taken, Started::value))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // A fork has no part in it.
        if !self.is_taken && !self.owner.is_another() {
            self.progress.end_in_time();
        }
    }
}
