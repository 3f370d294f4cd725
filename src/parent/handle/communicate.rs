//! `communicate`: writes to a child and reads what it writes, within limits.

use super::Child;
use super::exchange::{Each, Exchange, Reader};
use super::output_error::OutputError;
use super::output_limits::Limits;
use super::waitable::End;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::os::unix::process::ExitStatusExt;
use crate::parent::std::process::{ExitStatus, Output};
use crate::parent::std::vec::Vec;

impl Child {
    /// Writes `input` to the child's standard input and closes that, reads its
    /// standard output and standard error to end of file, all at once, and
    /// waits for it. A descriptor that is not piped, or was taken, is left out.
    ///
    /// A child that does not read all of its input is no error. SIGPIPE does
    /// not reach this process: it is blocked in this thread meanwhile. The
    /// parent's end of the child's standard input becomes non-blocking, which
    /// matters only if it was replaced by something else than a pipe.
    ///
    /// As [`Child::wait_with_output`], it also waits for a program that the
    /// child leaves in the background; see [`Limits::grace_after_exit`].
    ///
    /// # Errors
    ///
    /// [`Step::Stdin`], if there is input and no pipe for it; the child was
    /// left as it was. After any other error it was killed and has been waited
    /// for (five seconds at most: [`OutputError::child_remains`]), and the error
    /// has what was read: [`Step::Read`] and
    /// [`Step::Write`], if a pipe was replaced by a file or terminal that
    /// fails; [`Step::Wait`] as [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut sort = Command::new("sort");
    /// let sort = sort.stdin(Stdio::piped()).stdout(Stdio::piped());
    /// let output = sort.spawn()?.communicate("pear\napple\n")?;
    /// assert_eq!(output.stdout, b"apple\npear\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn communicate<B: AsRef<[u8]>>(
        &mut self,
        input: B,
    ) -> Result<Output, OutputError> {
        self.communicate_with(input, Limits::new())
    }

    /// As [`Child::communicate`], within limits.
    ///
    /// # Errors
    ///
    /// As [`Child::communicate`]. [`Step::Read`] for a limit that was reached,
    /// or one that is 0, which leaves the child as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use offshoot::{Command, Limits, OutputLimit, Stdio};
    ///
    /// // Reads no input, and goes on.
    /// let mut sleep = Command::new("sleep");
    /// let mut sleep = sleep.arg("60").stdin(Stdio::piped()).spawn()?;
    /// let limits = Limits::new().timeout(Duration::from_millis(50));
    /// let error = sleep.communicate_with(vec![0; 1 << 20], limits).unwrap_err();
    /// assert_eq!(error.limit(), Some(OutputLimit::Deadline));
    /// assert!(error.killed() && sleep.try_wait()?.is_some());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn communicate_with<B: AsRef<[u8]>>(
        &mut self,
        input: B,
        limits: Limits,
    ) -> Result<Output, OutputError> {
        let limits = limits.begin()?;
        let input = input.as_ref();
        if !input.is_empty() && self.stdin.is_none() {
            let why = "there is input, but standard input is not a pipe, or \
                       was taken";
            return Err(Error::refused(Step::Stdin, why).into());
        }
        let (status, [stdout, stderr]) =
            self.exchange(input, limits, &mut |_, _, _| Ok(()))?;
        Ok(Output { status, stdout, stderr })
    }

    /// Feeds, reads and waits. At an error it kills the child, and reads what
    /// that has left.
    pub(super) fn exchange(
        &mut self,
        input: &[u8],
        limits: Limits,
        each: Each<'_>,
    ) -> Result<(ExitStatus, [Vec<u8>; 2]), OutputError> {
        let stdin = self.stdin.take().filter(|_| !input.is_empty());
        let out = Reader::new(self.stdout.take());
        let err = Reader::new(self.stderr.take());
        let mut exchange = Exchange::new([out, err], limits);
        let fed = stdin.map(|pipe| exchange.feed(pipe.into(), input));
        let done = fed
            .unwrap_or(Ok(()))
            .and_then(|()| exchange.run(self.handle.get(), each));
        exchange.close_input();
        let done = done.and_then(|()| match limits.deadline {
            None => self.end(),
            Some(end) => {
                let ended = self.handle.get().wait_deadline(end)?;
                ended.ok_or_else(|| Error::new(Step::Read, Cause::TimedOut))
            }
        });
        let error = match done {
            Ok(end) => {
                return Ok((end.exit_status(), exchange.into_outputs()));
            }
            Err(error) => error,
        };
        let (status, killed, remains) = self.abort();
        exchange.read_rest();
        let [stdout, stderr] = exchange.into_outputs();
        Err(OutputError { error, stdout, stderr, status, killed, remains })
    }

    /// Kills the child and waits for it, as long as that may take. Returns its
    /// status, whether it was killed, and whether it has not ended.
    fn abort(&mut self) -> (Option<ExitStatus>, bool, bool) {
        let child = self.handle.get();
        let mut end = child.try_wait();
        // A program of another user may go on, and is not waited for.
        let sent = matches!(end, Ok(None)) && self.kill().is_ok();
        if sent {
            end = child.wait_after_kill();
        }
        let remains = matches!(end, Ok(None));
        // An error: other code has reaped it.
        let status = end.ok().flatten().map(End::exit_status);
        (status, sent && was_killed(status), remains)
    }
}

/// Whether the signal that was sent has ended the child, rather than come after
/// its end. If its status is lost, it is taken to have done so.
fn was_killed(status: Option<ExitStatus>) -> bool {
    status.is_none_or(|status| status.signal() == Some(libc::SIGKILL))
}

#[cfg(test)]
mod tests {
    use super::was_killed;
    use crate::parent::std::os::unix::process::ExitStatusExt;
    use crate::parent::std::process::ExitStatus;

    #[test]
    fn a_child_that_ends_before_the_signal_was_not_killed() {
        let killed = |raw| was_killed(Some(ExitStatus::from_raw(raw)));
        assert!(killed(libc::SIGKILL) && was_killed(None));
        assert!(!killed(0) && !killed(libc::SIGTERM) && !killed(9 << 8));
    }
}
