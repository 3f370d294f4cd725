//! `wait_with_output`: both pipes are read at once, so that neither fills.

use super::Child;
use super::exchange::{Exchange, Reader};
use super::output_limits::Limits;
use crate::parent::error::Error;
use crate::parent::std::process::Output;

impl Child {
    /// Closes the parent's end of the child's standard input, reads its
    /// standard output and standard error to end of file, both at once, and
    /// waits for it.
    ///
    /// A pipe reaches end of file when every process has closed its other
    /// end, so this call also waits for a program that the child leaves in the
    /// background.
    ///
    /// # Errors
    ///
    /// [`Step::Read`] with EIO, if a pipe was replaced by a terminal or file
    /// that fails; and as [`Child::wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let child = Command::new("echo")
    ///     .arg("hello")
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// assert_eq!(child.wait_with_output()?.stdout, b"hello\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`Step::Read`]: crate::Step::Read
    pub fn wait_with_output(mut self) -> Result<Output, Error> {
        drop(self.stdin.take());
        let out = Reader::new(self.stdout.take());
        let err = Reader::new(self.stderr.take());
        let mut read = Exchange::new([out, err], Limits::new());
        read.run(self.handle.get(), &mut |_, _, _| Ok(()))?;
        let [stdout, stderr] = read.into_outputs();
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr })
    }
}
