//! The child's directory and its standard descriptors.

use crate::parent::command::Command;
use crate::parent::command::stdio::Stdio;
use crate::parent::std::{os::fd::OwnedFd, path::Path, sync::Arc};

impl Command {
    /// The directory that the child starts in. It goes there before exec, so
    /// a relative program and a relative interpreter are looked up from
    /// there.
    ///
    /// # Errors
    ///
    /// Spawning fails at [`Step::Chdir`] with the reason that [`chdir(2)`]
    /// gives (ENOENT, ENOTDIR, EACCES, ELOOP), naming the directory.
    ///
    /// [`Step::Chdir`]: crate::Step::Chdir
    /// [`chdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("pwd").current_dir("/").output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.current_dir = Some(dir.as_ref().to_path_buf());
        self
    }

    /// The directory that the child starts in, as a descriptor: the one that
    /// was opened, whatever its path leads to by now. `O_PATH` is enough.
    /// The program does not have the descriptor.
    ///
    /// # Errors
    ///
    /// [`Step::CurrentDir`], if [`Command::current_dir`] is told as well;
    /// [`Step::CurrentDirFd`] with EBADF; [`Step::Fchdir`] with ENOTDIR or
    /// EACCES ([`fchdir(2)`]).
    ///
    /// [`Step::CurrentDir`]: crate::Step::CurrentDir
    /// [`Step::CurrentDirFd`]: crate::Step::CurrentDirFd
    /// [`Step::Fchdir`]: crate::Step::Fchdir
    /// [`fchdir(2)`]: https://man7.org/linux/man-pages/man2/chdir.2.html
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// let mut pwd = offshoot::Command::new("pwd");
    /// let output = pwd.current_dir_fd(File::open("/")?).output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn current_dir_fd(&mut self, dir: impl Into<OwnedFd>) -> &mut Command {
        self.options.current_dir_fd = Some(Arc::new(dir.into()));
        self
    }

    /// The directory that becomes the child's root ([`chroot(2)`]), always
    /// followed by a directory inside it: [`Command::current_dir`], seen
    /// from there, else `/`. The program, its interpreter and its libraries
    /// are looked up inside.
    ///
    /// It completes a drop of privileges ([`Command::uid`]); by itself it
    /// holds nobody who is or becomes root.
    ///
    /// # Errors
    ///
    /// [`Step::Chroot`] with EPERM, without CAP_SYS_CHROOT; ENOENT, ENOTDIR,
    /// EACCES; refused with [`Command::current_dir_fd`], which could lead
    /// outside, and for an empty name or a NUL byte.
    ///
    /// [`Step::Chroot`]: crate::Step::Chroot
    /// [`chroot(2)`]: https://man7.org/linux/man-pages/man2/chroot.2.html
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// let mut server = Command::new("/bin/server");
    /// server.chroot("/srv/jail").current_dir("/var/empty").uid(65534);
    /// server.gid(65534).spawn()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn chroot<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.options.chroot = Some(dir.as_ref().to_path_buf());
        self
    }

    /// What becomes of standard input. By default it is inherited by
    /// [`Command::spawn`] and [`Command::status`], and `/dev/null` for
    /// [`Command::output`].
    ///
    /// # Errors
    ///
    /// Spawning fails at [`Step::Stdin`] if the descriptor cannot be made
    /// (EMFILE, or what opening a path gives), naming the path.
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

    /// What becomes of standard output. By default it is inherited by
    /// [`Command::spawn`] and [`Command::status`], and piped for
    /// [`Command::output`].
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

    /// What becomes of standard error. By default it is inherited by
    /// [`Command::spawn`] and [`Command::status`], and piped for
    /// [`Command::output`].
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
        if let Some(wish) = self.options.stdio.get_mut(n) {
            *wish = Some(stdio);
        }
        self
    }
}
