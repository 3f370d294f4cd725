//! Standard input, output and error.

use crate::parent::command::{Command, Stdio};

impl Command {
    /// Sets the standard input of the child.
    ///
    /// By default it is inherited by [`Command::spawn`] and
    /// [`Command::status`], and `/dev/null` for [`Command::output`].
    ///
    /// # Errors
    ///
    /// [`Step::Stdin`] if the descriptor cannot be created, with EMFILE or
    /// with the path and the error of opening it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// let mut wc = offshoot::Command::new("wc");
    /// let output = wc.arg("-c").stdin(File::open("/dev/null")?).output()?;
    /// assert_eq!(output.stdout, b"0\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`Step::Stdin`]: crate::Step::Stdin
    pub fn stdin<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.stdio(0, stdio.into())
    }

    /// Sets the standard output of the child.
    ///
    /// By default it is inherited by [`Command::spawn`] and
    /// [`Command::status`], and piped for [`Command::output`].
    ///
    /// # Errors
    ///
    /// As [`Command::stdin`], at [`Step::Stdout`](crate::Step::Stdout).
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut quiet = Command::new("echo");
    /// assert!(quiet.stdout(Stdio::null()).status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn stdout<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.stdio(1, stdio.into())
    }

    /// Sets the standard error of the child.
    ///
    /// By default it is inherited by [`Command::spawn`] and
    /// [`Command::status`], and piped for [`Command::output`].
    ///
    /// # Errors
    ///
    /// As [`Command::stdin`], at [`Step::Stderr`](crate::Step::Stderr).
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Stdio};
    ///
    /// let mut ls = Command::new("ls");
    /// let child = ls.arg("/nope").stderr(Stdio::piped()).spawn()?;
    /// assert!(!child.wait_with_output()?.stderr.is_empty());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn stderr<T: Into<Stdio>>(&mut self, stdio: T) -> &mut Command {
        self.stdio(2, stdio.into())
    }

    fn stdio(&mut self, n: usize, stdio: Stdio) -> &mut Command {
        if let Some(option) = self.options.stdio.get_mut(n) {
            *option = Some(stdio);
        }
        self
    }
}
