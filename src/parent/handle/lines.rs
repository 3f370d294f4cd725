//! `stream_lines`: a function is called with each line that a child writes, as
//! it arrives.

use memchr::memchr;

use super::Child;
use super::exchange::OutputStream;
use super::output_error::OutputError;
use super::output_limits::Limits;
use crate::parent::error::{Cause, Error, Step};
use crate::parent::std::process::ExitStatus;
use crate::parent::std::{io, vec::Vec};

/// The lines of two outputs.
struct Lines<F> {
    function: F,
    /// How much of each output is known to have no end of a line.
    scanned: [usize; 2],
    longest: Option<u64>,
}

impl<F: FnMut(OutputStream, &[u8]) -> io::Result<()>> Lines<F> {
    /// Passes the complete lines, at the end also one without a newline, and
    /// removes them.
    fn pass(
        &mut self,
        stream: OutputStream,
        bytes: &mut Vec<u8>,
        at_end: bool,
    ) -> Result<(), Error> {
        let mut passed = 0;
        let done = self.pass_all(stream, bytes, at_end, &mut passed);
        bytes.drain(..passed);
        self.scanned[stream as usize] = bytes.len();
        done
    }

    fn pass_all(
        &mut self,
        stream: OutputStream,
        bytes: &[u8],
        at_end: bool,
        passed: &mut usize,
    ) -> Result<(), Error> {
        let mut scanned = self.scanned[stream as usize];
        while let Some(at) = memchr(b'\n', &bytes[scanned..]) {
            let line = &bytes[*passed..scanned + at];
            self.check(line)?;
            scanned += at + 1;
            *passed = scanned;
            self.call(stream, line)?;
        }
        let rest = &bytes[*passed..];
        self.check(rest)?;
        if at_end && !rest.is_empty() {
            *passed = bytes.len();
            self.call(stream, rest)?;
        }
        Ok(())
    }

    fn check(&self, line: &[u8]) -> Result<(), Error> {
        match self.longest {
            Some(most) if line.len() as u64 > most => {
                Err(Error::new(Step::Read, Cause::LongLine(most)))
            }
            _ => Ok(()),
        }
    }

    fn call(
        &mut self,
        stream: OutputStream,
        line: &[u8],
    ) -> Result<(), Error> {
        (self.function)(stream, line).map_err(|error| {
            Error::new(Step::StreamLines, Cause::Function(error))
        })
    }
}

impl Child {
    /// Calls a function with each line that the child writes to standard
    /// output and standard error, as it arrives, until both have ended; waits
    /// for the child and returns its status. The child's standard input is
    /// closed first.
    ///
    /// A line is passed without its newline; a carriage return before that
    /// stays. A last line without newline is passed as well. The order between
    /// the two outputs is not that of the child's writes: a program that is to
    /// keep it writes both to one pipe, with [`Stdio::same_as`]`(1)` for
    /// standard error, and all lines are of [`OutputStream::Stdout`]. Most
    /// programs write to a pipe when they have some KiB, not at each line.
    ///
    /// The function returns an [`io::Result`], so that `?` works for what it
    /// does with the line (write it, parse it); an error ends the reading and
    /// kills the child. [`io::Error::other`] makes one of any error or text.
    ///
    /// While the function runs nothing is read, so the child may have to wait.
    /// If it panics, the child goes on, with its pipes closed, unless
    /// [`Child::kill_on_drop`] is set and the `Child` is dropped.
    ///
    /// # Errors
    ///
    /// [`Step::StreamLines`] with the function's error, which ends the
    /// reading; otherwise as [`Child::communicate`]. The child was killed and
    /// has been waited for; the error has the lines that were not passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, OutputStream, Stdio};
    ///
    /// let mut sh = Command::new("sh");
    /// sh.args(["-c", "echo compiling; echo 'warning: unused' >&2"]);
    /// let mut warnings = 0;
    /// let status = sh
    ///     .stdout(Stdio::piped())
    ///     .stderr(Stdio::piped())
    ///     .spawn()?
    ///     .stream_lines(|which, line| {
    ///         let from_stderr = which == OutputStream::Stderr;
    ///         warnings += i32::from(from_stderr && line.starts_with(b"warning"));
    ///         Ok(())
    ///     })?;
    /// assert!(status.success() && warnings == 1);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Stdio::same_as`]: crate::Stdio::same_as
    pub fn stream_lines<F>(
        &mut self,
        function: F,
    ) -> Result<ExitStatus, OutputError>
    where
        F: FnMut(OutputStream, &[u8]) -> io::Result<()>,
    {
        self.stream_lines_with(Limits::new(), function)
    }

    /// As [`Child::stream_lines`], within limits. Without
    /// [`Limits::line_bytes`] or [`Limits::bytes`] a line may need any amount
    /// of memory.
    ///
    /// # Errors
    ///
    /// As [`Child::stream_lines`] and [`Child::communicate_with`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Limits, OutputLimit, Stdio};
    ///
    /// let mut printf = Command::new("printf");
    /// printf.arg(r"short\na line that is longer\n").stdout(Stdio::piped());
    /// let limits = Limits::new().line_bytes(10);
    /// let mut lines = Vec::new();
    /// let error = printf.spawn()?.stream_lines_with(limits, |_, line| {
    ///     lines.push(line.to_vec());
    ///     Ok(())
    /// });
    /// assert_eq!(error.unwrap_err().limit(), Some(OutputLimit::LineBytes));
    /// assert_eq!(lines, [b"short"]);
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn stream_lines_with<F>(
        &mut self,
        limits: Limits,
        function: F,
    ) -> Result<ExitStatus, OutputError>
    where
        F: FnMut(OutputStream, &[u8]) -> io::Result<()>,
    {
        let limits = limits.begin()?;
        let longest = limits.line_bytes;
        let mut lines = Lines { function, scanned: [0, 0], longest };
        let (status, rest) =
            self.exchange(&[], limits, &mut |stream, bytes, at_end| {
                lines.pass(stream, bytes, at_end)
            })?;
        // Something is left if another process has the pipe still open.
        let [mut stdout, mut stderr] = rest;
        let done = lines.pass(OutputStream::Stdout, &mut stdout, true);
        let done = done.and_then(|()| {
            lines.pass(OutputStream::Stderr, &mut stderr, true)
        });
        done.map(|()| status).map_err(|error| {
            let (killed, remains) = (false, false);
            let status = Some(status);
            OutputError { error, stdout, stderr, status, killed, remains }
        })
    }
}
