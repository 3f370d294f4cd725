//! `Limits`: how much of a child's output is read, and for how long.

use core::time::Duration;

use super::waitable::deadline_after;
use crate::parent::error::{Error, Step};
use crate::parent::std::time::Instant;

/// Limits of [`Command::output_with`], [`Child::communicate_with`] and
/// [`Child::stream_lines_with`]. By default there is none.
///
/// At a limit the call is an error, which keeps what was read so far:
/// [`OutputError`]. The child is killed and waited for first. What it has
/// started is not: see [`Child::signal_group`], and [`Child::kill_tree`], which is
/// complete with [`Command::own_cgroup`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use offshoot::{Command, Limits, OutputLimit};
///
/// let limits = Limits::new().bytes(1 << 20).timeout(Duration::from_secs(60));
/// let output = Command::new("echo").arg("hi").output_with(limits)?;
/// assert_eq!(output.stdout, b"hi\n");
///
/// let error = Command::new("yes").output_with(limits).unwrap_err();
/// assert_eq!(error.limit(), Some(OutputLimit::Bytes));
/// assert_eq!(error.stdout().len(), 1 << 20);
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Command::output_with`]: crate::Command::output_with
/// [`Child::communicate_with`]: crate::Child::communicate_with
/// [`Child::stream_lines_with`]: crate::Child::stream_lines_with
/// [`Child::signal_group`]: crate::Child::signal_group
/// [`Child::kill_tree`]: crate::Child::kill_tree
/// [`Command::own_cgroup`]: crate::Command::own_cgroup
/// [`OutputError`]: crate::OutputError
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Limits {
    pub(super) bytes: Option<u64>,
    pub(super) line_bytes: Option<u64>,
    timeout: Option<Duration>,
    pub(super) deadline: Option<Instant>,
    pub(super) grace: Option<Duration>,
}

impl Limits {
    /// No limits.
    #[must_use]
    pub fn new() -> Limits {
        Limits::default()
    }

    /// Limits the output to this many bytes, standard output and standard
    /// error together. Exactly as many are no error. 0 is refused.
    #[must_use]
    pub fn bytes(mut self, most: u64) -> Limits {
        self.bytes = Some(most);
        self
    }

    /// Limits each line to this many bytes, without its end. 0 is refused.
    /// Has an effect on lines only ([`Child::stream_lines_with`]), which are
    /// kept in memory until they are complete.
    ///
    /// [`Child::stream_lines_with`]: crate::Child::stream_lines_with
    #[must_use]
    pub fn line_bytes(mut self, most: u64) -> Limits {
        self.line_bytes = Some(most);
        self
    }

    /// Limits the time, from the begin of the call until the child has ended
    /// and its output is read. 0 is refused. Beside a deadline, the earlier
    /// one counts.
    ///
    /// The spawn of [`Command::output_with`] is part of that time, but is not
    /// interrupted.
    ///
    /// [`Command::output_with`]: crate::Command::output_with
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Limits {
        self.timeout = Some(timeout);
        self
    }

    /// Limits the time until a moment. One that has passed is an error at
    /// once, with the child killed.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Limits {
        self.deadline = Some(deadline);
        self
    }

    /// Once the child has ended, reads for at most this long, and then
    /// succeeds with what there is.
    ///
    /// Without it, output is read until every process has closed it: a program
    /// that the child leaves in the background, and that inherits the pipe,
    /// holds the caller for as long as it runs. What the child itself has
    /// written is complete also with 0, which reads what the pipes hold then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use offshoot::{Command, Limits};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "sleep 5 & echo started"]);
    /// let limits = Limits::new().grace_after_exit(Duration::ZERO);
    /// assert_eq!(sh.output_with(limits)?.stdout, b"started\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[doc(alias = "WaitDelay")]
    #[must_use]
    pub fn grace_after_exit(mut self, grace: Duration) -> Limits {
        self.grace = Some(grace);
        self
    }

    /// The deadline, after `begin`.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.deadline
    }

    /// Validates it, and turns the timeout into a deadline.
    pub(crate) fn begin(mut self) -> Result<Limits, Error> {
        let why = if self.bytes == Some(0) || self.line_bytes == Some(0) {
            "a limit of 0 bytes excludes any output"
        } else if self.timeout == Some(Duration::ZERO) {
            "a timeout of 0 gives the program no time"
        } else {
            if let Some(timeout) = self.timeout.take() {
                let end = deadline_after(timeout);
                self.deadline =
                    Some(self.deadline.map_or(end, |other| other.min(end)));
            }
            return Ok(self);
        };
        Err(Error::refused(Step::Read, why))
    }
}
