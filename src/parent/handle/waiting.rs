//! Waiting for a child, and signals to it.

use core::mem;
use core::time::Duration;

use super::shared::Handle;
use super::waitable::{End, deadline_after, late};
use super::{Child, ExitStatus, Process, Rusage};
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::time::Instant;

impl Child {
    /// Waits until the child ends, after closing the parent's end of its
    /// standard input, so that the child does not wait for more. Further calls
    /// return the same status. Signals do not interrupt it. See [`waitid(2)`].
    ///
    /// If another thread has reaped the child (`waitpid(-1)`), or the kernel
    /// has as SIGCHLD is ignored, the status is read from the pidfd, which has
    /// it since Linux 6.15.
    ///
    /// If a thread of this process attaches to the child by [`ptrace(2)`], this
    /// wait may take its first stop from the tracer, and then waits on. It
    /// takes none once [`Child::process`] was called, nor with
    /// [`Command::ptrace_traceme`].
    ///
    /// # Errors
    ///
    /// [`Step::Wait`], if the child was reaped and its status is lost.
    ///
    /// [`Command::ptrace_traceme`]: crate::Command::ptrace_traceme
    /// [`ptrace(2)`]: https://man7.org/linux/man-pages/man2/ptrace.2.html
    /// [`waitid(2)`]: https://man7.org/linux/man-pages/man2/waitid.2.html
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        mem::drop(self.stdin.take());
        self.end().map(End::exit_status)
    }

    /// Returns the status if the child has ended, `None` if it has not.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut cat = Command::new("/bin/cat").stdin(Stdio::piped()).spawn()?;
    /// assert!(cat.try_wait()?.is_none());
    /// drop(cat.stdin.take());
    /// assert!(cat.wait()?.success());
    /// assert!(cat.try_wait()?.is_some());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        let end = self.handle.get().try_wait()?;
        Ok(end.map(End::exit_status))
    }

    /// As [`Child::wait`], for at most this long; `None` if the child has not
    /// ended by then.
    ///
    /// The parent's end of the child's standard input is closed first, and so
    /// it is after a time that runs out: a child that is still to get input is
    /// waited for with [`Child::try_wait`], [`Process::wait_timeout`]
    /// ([`Child::process`]) or after `stdin` was taken.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut sleep = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// assert_eq!(sleep.wait_timeout(Duration::from_millis(10))?, None);
    /// sleep.kill()?;
    /// assert!(sleep.wait_timeout(Duration::from_secs(60))?.is_some());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<ExitStatus>, Error> {
        self.wait_deadline(deadline_after(timeout))
    }

    /// As [`Child::wait_timeout`], until a moment; it closes the input too.
    /// Signals do not make it longer.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// // Both together have one second.
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// for _ in 0..2 {
    ///     let mut child = offshoot::Command::new("true").spawn()?;
    ///     if child.wait_deadline(deadline)?.is_none() {
    ///         child.kill()?;
    ///         child.wait()?;
    ///     }
    /// }
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn wait_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<ExitStatus>, Error> {
        mem::drop(self.stdin.take());
        let end = self.handle.get().wait_deadline(deadline)?;
        Ok(end.map(End::exit_status))
    }

    /// As [`Child::wait`], and returns what the child has used
    /// ([`getrusage(2)`]). Before or after other waits.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`]; [`Step::Wait`] also if the status is known and the
    /// usage is lost, as another thread or the kernel has reaped the child.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = offshoot::Command::new("true").spawn()?;
    /// let (status, usage) = child.wait_usage()?;
    /// assert!(status.success() && usage.max_rss() > 0);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`getrusage(2)`]: https://man7.org/linux/man-pages/man2/getrusage.2.html
    pub fn wait_usage(&mut self) -> Result<(ExitStatus, Rusage), Error> {
        mem::drop(self.stdin.take());
        let end = self.end()?;
        let lost = || Error::new(Step::Wait, Cause::UsageLost);
        Ok((end.exit_status(), end.usage.ok_or_else(lost)?))
    }

    pub(super) fn end(&mut self) -> Result<End, Error> {
        match &mut self.handle {
            Handle::Own(own) => own.wait_alone(),
            Handle::Shared(shared) => shared.wait(),
        }
    }

    /// Returns a handle that waits for the child and signals it from any
    /// thread. It and this `Child` get the same status.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sleep = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// let process = sleep.process();
    /// let killer = std::thread::spawn(move || process.kill());
    /// assert!(!sleep.wait()?.success());
    /// killer.join().unwrap()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn process(&mut self) -> Process {
        Process::new(self.handle.share(), self.launch.process_group)
    }

    /// Sends SIGKILL to the child, if it has not ended. You must still call
    /// [`wait`](Child::wait). The signal is sent by the pidfd, so it never
    /// reaches another process; without a pidfd it is sent by the process id,
    /// and only before the child has been waited for.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] with EPERM, if the child belongs to another user (a
    /// set-user-ID program).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert_eq!(child.wait()?.signal(), Some(9));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn kill(&self) -> Result<(), Error> {
        self.handle.get().signal(libc::SIGKILL)
    }

    /// Sends a signal to the child, if it has not ended; numbers are from 1
    /// to 64. As [`Child::kill`], it never reaches another process.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`] for another number; with EPERM, if the child belongs to
    /// another user.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// const SIGTERM: i32 = 15;
    ///
    /// let mut child = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// child.signal(SIGTERM)?;
    /// assert_eq!(child.wait()?.signal(), Some(SIGTERM));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[doc(alias = "send_signal")]
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        self.handle.get().signal(signal)
    }

    /// Sends a signal to the process group that the child leads: one that has
    /// a session or process group of its own ([`Child::process_group`]).
    ///
    /// By the pidfd since Linux 6.9, also after the child has ended. Before,
    /// by the number of the group, and only as long as the child has not been
    /// waited for: another group can get the number then.
    ///
    /// # Errors
    ///
    /// [`Step::Kill`], if the child does not lead a group, or the signal is
    /// not from 1 to 64; with EPERM, if no process of the group may be
    /// signalled; with ESRCH, if the child has left the group and it is empty,
    /// or, before Linux 6.9, if the child has been waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// const SIGKILL: i32 = 9;
    ///
    /// let mut sh = offshoot::Command::new("sh");
    /// let mut sh = sh.args(["-c", "sleep 60 & wait"]).process_group(0).spawn()?;
    /// sh.signal_group(SIGKILL)?;
    /// sh.wait()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[doc(alias = "killpg")]
    pub fn signal_group(&self, signal: i32) -> Result<(), Error> {
        let group = self.launch.process_group;
        Process::check_leader(self.handle.get(), group)?;
        self.handle.get().signal_group(signal)
    }

    /// Asks the child to end (SIGTERM, and SIGCONT for one that is stopped),
    /// waits for `grace`, then kills it (SIGKILL). Returns its status.
    ///
    /// After SIGKILL it waits for five seconds at most: a process of a frozen
    /// control group, one that waits for a device, or one whose tracer does not
    /// let it go ends only after that. It is still this `Child`, to be waited
    /// for.
    ///
    /// Only the child itself is signalled, not what it has started: see
    /// [`Child::terminate_tree`] and [`Child::signal_group`].
    ///
    /// # Errors
    ///
    /// As [`Child::signal`] and [`Child::wait`]; [`Step::Kill`] with ETIMEDOUT,
    /// if it was killed and has not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    /// use std::time::Duration;
    ///
    /// let mut sleep = offshoot::Command::new("sleep").arg("60").spawn()?;
    /// let status = sleep.terminate(Duration::from_secs(10))?;
    /// assert_eq!(status.signal(), Some(15));
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn terminate(&mut self, grace: Duration) -> Result<ExitStatus, Error> {
        self.signal(libc::SIGTERM)?;
        self.signal(libc::SIGCONT)?;
        if let Some(status) = self.wait_timeout(grace)? {
            return Ok(status);
        }
        self.kill()?;
        let end = self.handle.get().wait_after_kill()?;
        end.map(End::exit_status).ok_or_else(late)
    }
}
