//! Descriptors that the child inherits beyond 0, 1 and 2.
#![allow(unsafe_code, reason = "the caller keeps raw descriptors open")]

mod jobserver;
pub(crate) mod listen;
pub(crate) mod mapping;
pub(crate) mod nonblocking;
pub(crate) mod open_in_child;
pub(crate) mod requests;

use crate::parent::command::{Command, FdArg, FdRequest};
use crate::parent::error::Step;
use crate::parent::std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    string::String,
    sync::Arc,
    vec::Vec,
};

impl Command {
    /// Passes a descriptor to the child at the number `target`.
    ///
    /// Numbers may be assigned in any order: descriptors may be exchanged, and
    /// a target may be the number of another source. To pass one file at
    /// several numbers, use [`OwnedFd::try_clone`] for each. Targets 0 to 2
    /// are allowed if `stdin`, `stdout` or `stderr` does not set them.
    ///
    /// The descriptor stays open until this command is dropped, as the command
    /// may spawn again: the reader of a pipe whose write end was passed sees
    /// end of file only after that.
    ///
    /// # Errors
    ///
    /// [`Step::Fd`], naming source and target, if the target is negative, is
    /// assigned twice or is not below RLIMIT_NOFILE; with EBADF if the source
    /// is closed; with EMFILE if a copy is needed and the table is full.
    ///
    /// See [`dup3(2)`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use offshoot::Command;
    ///
    /// let mut cat = Command::new("cat");
    /// cat.arg("/proc/self/fd/7").fd(7, File::open("/dev/null")?);
    /// assert_eq!(cat.output()?.stdout, b"");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`dup3(2)`]: https://man7.org/linux/man-pages/man2/dup.2.html
    pub fn fd(
        &mut self,
        target: RawFd,
        source: impl Into<OwnedFd>,
    ) -> &mut Command {
        self.request(target, FdArg::Owned(Arc::new(source.into())), Step::Fd)
    }

    /// Passes a descriptor to the child at the number that it has here.
    ///
    /// # Errors
    ///
    /// [`Step::InheritFd`], as [`Command::fd`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use std::os::fd::AsRawFd;
    /// use offshoot::Command;
    ///
    /// let null = File::open("/dev/null")?;
    /// let mut cat = Command::new("cat");
    /// cat.arg(format!("/proc/self/fd/{}", null.as_raw_fd()));
    /// assert!(cat.inherit_fd(null).status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn inherit_fd(&mut self, fd: impl Into<OwnedFd>) -> &mut Command {
        let fd = fd.into();
        let target = fd.as_raw_fd();
        self.request(target, FdArg::Owned(Arc::new(fd)), Step::InheritFd)
    }

    fn request(
        &mut self,
        target: RawFd,
        from: FdArg,
        by: Step,
    ) -> &mut Command {
        self.options.descriptors.fds.push(FdRequest { target, from, by });
        self
    }

    /// Passes a descriptor that is known only by its number to the child, at
    /// that number.
    ///
    /// It may be a socket from the service manager, or one that an argument
    /// names. A number may be repeated. For make's pipe see
    /// [`Command::inherit_jobserver`].
    ///
    /// # Safety
    ///
    /// As [`Command::raw_fd`].
    ///
    /// # Errors
    ///
    /// [`Step::InheritRawFd`] with EBADF if it is not open here.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut make = Command::new("make");
    /// // SAFETY: the number is closed all the time.
    /// let error = unsafe { make.inherit_raw_fd(9999) }.spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::InheritRawFd);
    /// assert_eq!(error.to_string(), "inherit_raw_fd \"9999 -> 9999\": Bad \
    ///     file descriptor (os error 9): that descriptor is not open here");
    /// ```
    pub unsafe fn inherit_raw_fd(&mut self, fd: RawFd) -> &mut Command {
        self.request(fd, FdArg::Raw(fd), Step::InheritRawFd)
    }

    /// Passes make's jobserver to the child, so that the program takes part in
    /// `make -j`.
    ///
    /// The jobserver is a pipe that MAKEFLAGS names by two numbers
    /// (`--jobserver-auth=R,W`, before make 4.2 `--jobserver-fds=R,W`). They
    /// are read from the environment of the program, inherited or set by
    /// [`Command::env`]: from CARGO_MAKEFLAGS (which cargo sets for build
    /// scripts), MAKEFLAGS and MFLAGS. In each the last such option counts, as
    /// in make. A named pipe (`fifo:PATH`, the default of make 4.4) is opened
    /// by the program itself.
    ///
    /// If there is no jobserver, nothing is passed, which is not an error: no
    /// such variable, or numbers that are negative, below 3, closed or not the
    /// two ends of one pipe. make leaves the variable set for a recipe that it
    /// does not take for a recursive make (no `+`, no `$(MAKE)`), but closes
    /// the pipe; files that this process opened at these numbers since are not
    /// passed. The plan looks the numbers up, so a
    /// [prepared](Command::prepare) command should be spawned while they refer
    /// to the same pipe.
    ///
    /// The caller must not start more programs at once than it has tokens for.
    ///
    /// # Errors
    ///
    /// [`Step::InheritJobserver`] if another option assigns another descriptor
    /// to its numbers, or with EBADF if the jobserver was closed after the
    /// plan was made.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use offshoot::Command;
    ///
    /// // Runs as many jobs as the make that runs this allows.
    /// let status = Command::new("make").inherit_jobserver().status()?;
    /// assert!(status.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[doc(alias = "MAKEFLAGS")]
    pub fn inherit_jobserver(&mut self) -> &mut Command {
        self.options.descriptors.jobserver = true;
        self
    }

    /// Passes a descriptor as [`Command::fd`] does, but by its number only.
    ///
    /// One source may have several targets, and a pair may be repeated.
    ///
    /// # Safety
    ///
    /// Clause 1: from the first call that plans or spawns until this command
    /// and everything prepared from it are dropped, the number is not closed
    /// and is not reused for another file; or it is closed all that
    /// time, and the spawn fails.
    ///
    /// # Errors
    ///
    /// [`Step::Fd`], as [`Command::fd`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("sh");
    /// sh.args(["-c", "echo out >&5"]);
    /// // SAFETY: descriptor 1 stays open.
    /// unsafe { sh.raw_fd(5, 1) };
    /// assert!(sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn raw_fd(
        &mut self,
        target: RawFd,
        source: RawFd,
    ) -> &mut Command {
        self.request(target, FdArg::Raw(source), Step::Fd)
    }

    /// Sets whether the child also inherits every descriptor of this process
    /// that is not close-on-exec, as with [`std::process::Command`].
    ///
    /// These include descriptors that a library or another thread left open.
    /// By default none of them is inherited.
    ///
    /// The child then copies this process's whole descriptor table, which
    /// takes time in proportion to its size. If memory must not be shared
    /// (ids, [`Command::before_exec`]) the memory is copied
    /// ([`Engine::Copied`](crate::Engine::Copied)), as the helper program
    /// needs two descriptors of its own;
    /// [`Engine::Isolated`](crate::Engine::Isolated) by name is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::Command;
    ///
    /// let mut ls = Command::new("ls");
    /// ls.arg("/proc/self/fd").inherit_unlisted_fds(true);
    /// assert!(ls.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`std::process::Command`]: https://doc.rust-lang.org/std/process/struct.Command.html
    pub fn inherit_unlisted_fds(&mut self, inherit: bool) -> &mut Command {
        self.options.descriptors.unlisted = inherit;
        self
    }

    /// Passes listening sockets to the child, as [`sd_listen_fds(3)`] expects
    /// them.
    ///
    /// They become descriptors 3 and up, in this order. LISTEN_FDS is set to
    /// their number, and LISTEN_PID to the process id of the child, which
    /// writes it itself. Further calls add sockets.
    ///
    /// The variables of this protocol are not inherited from this process. A
    /// spawn allocates memory for the environment.
    ///
    /// # Errors
    ///
    /// [`Step::ListenFds`] if `env` sets one of the variables or another
    /// option assigns one of the descriptors, or for a name (see
    /// [`Command::listen_fds_named`]) that is over 255 bytes or not printable
    /// ASCII without colons.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use offshoot::Command;
    ///
    /// let mut server = Command::new("sh");
    /// server.args(["-c", "echo $LISTEN_FDS; test $LISTEN_PID = $$"]);
    /// server.listen_fds([TcpListener::bind("127.0.0.1:0")?]);
    /// let output = server.output()?;
    /// assert_eq!(output.stdout, b"1\n");
    /// assert!(output.status.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// [`sd_listen_fds(3)`]: https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html
    pub fn listen_fds<I>(&mut self, fds: I) -> &mut Command
    where
        I: IntoIterator,
        I::Item: Into<OwnedFd>,
    {
        // Without sockets LISTEN_FDS is 0.
        self.options.descriptors.listen.get_or_insert_default();
        for fd in fds {
            self.listen(None, fd.into());
        }
        self
    }

    /// Passes listening sockets as [`Command::listen_fds`] does, each with a
    /// name for LISTEN_FDNAMES.
    ///
    /// # Errors
    ///
    /// As [`Command::listen_fds`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use offshoot::Command;
    ///
    /// let mut server = Command::new("sh");
    /// server.args(["-c", "echo $LISTEN_FDNAMES"]);
    /// server.listen_fds_named([
    ///     ("http", TcpListener::bind("127.0.0.1:0")?),
    ///     ("admin", TcpListener::bind("127.0.0.1:0")?),
    /// ]);
    /// assert_eq!(server.output()?.stdout, b"http:admin\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listen_fds_named<I, N, F>(&mut self, fds: I) -> &mut Command
    where
        I: IntoIterator<Item = (N, F)>,
        N: Into<String>,
        F: Into<OwnedFd>,
    {
        self.options.descriptors.listen.get_or_insert_default();
        for (name, fd) in fds {
            self.listen(Some(name.into()), fd.into());
        }
        self
    }

    fn listen(&mut self, name: Option<String>, fd: OwnedFd) {
        let names: &mut Vec<_> =
            self.options.descriptors.listen.get_or_insert_default();
        let index = i32::try_from(names.len()).unwrap_or(i32::MAX);
        names.push(name);
        let target = listen::START.saturating_add(index);
        self.request(target, FdArg::Owned(Arc::new(fd)), Step::ListenFds);
    }
}
