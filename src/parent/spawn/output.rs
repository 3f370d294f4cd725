//! Outputs of a command: within limits, merged, or line by line.

use super::stdio_pipes::piped;
use crate::parent::command::{Command, StdioSource};
use crate::parent::error::Error;
use crate::parent::handle::{Limits, OutputError, OutputStream};
use crate::parent::std::io;
use crate::parent::std::process::{ExitStatus, Output};

impl Command {
    /// As [`Command::output`], within limits: of the number of bytes, of the
    /// time, and of the time after the end of the program.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::communicate_with`]. No child is left,
    /// except one that could not be ended ([`OutputError::child_remains`]). With a deadline the program is
    /// started as by [`Command::spawn_deadline`], so the step may be any in
    /// which the child hangs, unless an option makes it the calling thread's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use offshoot::{Command, Limits, OutputLimit};
    ///
    /// let limits = Limits::new().timeout(Duration::from_millis(100));
    /// let error = Command::new("sleep").arg("60").output_with(limits);
    /// assert_eq!(error.unwrap_err().limit(), Some(OutputLimit::Deadline));
    /// ```
    ///
    /// [`Child::communicate_with`]: crate::Child::communicate_with
    pub fn output_with(
        &mut self,
        limits: Limits,
    ) -> Result<Output, OutputError> {
        let limits = limits.begin()?;
        let mut child = self.spawn_by(piped, limits.ends_at())?;
        child.communicate_with([], limits).inspect_err(|_| {
            // One that has not ended yet is reaped later.
            child.reap_on_drop(true);
        })
    }

    /// As [`Command::output`], with standard output and standard error in one
    /// pipe, so that what the program writes to them keeps its order. It is
    /// all in [`Output::stdout`].
    ///
    /// This is the effect of [`Stdio::same_as`]`(1)` for standard error, which
    /// can be combined with limits, lines and input.
    ///
    /// # Errors
    ///
    /// As [`Command::output`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use offshoot::{Command, Limits, Stdio};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "echo 1; echo 2 >&2; echo 3"]);
    /// assert_eq!(sh.output_merged()?.stdout, b"1\n2\n3\n");
    ///
    /// let limits = Limits::new().timeout(Duration::from_secs(60));
    /// let output = sh.stderr(Stdio::same_as(1)).output_with(limits)?;
    /// assert_eq!(output.stdout, b"1\n2\n3\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Stdio::same_as`]: crate::Stdio::same_as
    #[doc(alias = "combined_output")]
    pub fn output_merged(&mut self) -> Result<Output, Error> {
        let merged = |n| match n {
            2 => StdioSource::SameAs(1),
            _ => piped(n),
        };
        self.spawn_with(merged)?.wait_with_output()
    }

    /// Starts the program, with the defaults of [`Command::output`], and calls
    /// a function with each line that it writes: [`Child::stream_lines`]. If
    /// the function panics, the program is killed, as by
    /// [`Child::kill_on_drop`].
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::stream_lines`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut seq = offshoot::Command::new("seq");
    /// let mut sum = 0;
    /// let status = seq.arg("4").stream_lines(|_, line| {
    ///     let line = String::from_utf8_lossy(line);
    ///     sum += line.parse::<u32>().map_err(std::io::Error::other)?;
    ///     Ok(())
    /// })?;
    /// assert!(status.success() && sum == 10);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Child::kill_on_drop`]: crate::Child::kill_on_drop
    /// [`Child::stream_lines`]: crate::Child::stream_lines
    pub fn stream_lines<F>(
        &mut self,
        function: F,
    ) -> Result<ExitStatus, OutputError>
    where
        F: FnMut(OutputStream, &[u8]) -> io::Result<()>,
    {
        let mut child = self.spawn_with(piped)?;
        child.kill_on_drop(true).stream_lines(function)
    }

    /// As [`Command::stream_lines`], within limits.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`] and [`Child::stream_lines_with`]; a deadline as in
    /// [`Command::output_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use offshoot::{Command, Limits};
    ///
    /// let limits = Limits::new()
    ///     .line_bytes(1 << 20)
    ///     .timeout(Duration::from_secs(60))
    ///     .grace_after_exit(Duration::from_secs(1));
    /// let status = Command::new("echo").arg("hi").stream_lines_with(limits, |_, line| {
    ///     assert_eq!(line, b"hi");
    ///     Ok(())
    /// })?;
    /// assert!(status.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Child::stream_lines_with`]: crate::Child::stream_lines_with
    pub fn stream_lines_with<F>(
        &mut self,
        limits: Limits,
        function: F,
    ) -> Result<ExitStatus, OutputError>
    where
        F: FnMut(OutputStream, &[u8]) -> io::Result<()>,
    {
        let limits = limits.begin()?;
        let mut child = self.spawn_by(piped, limits.ends_at())?;
        child.kill_on_drop(true).stream_lines_with(limits, function)
    }
}
