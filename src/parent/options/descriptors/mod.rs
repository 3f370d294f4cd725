//! Descriptors beside 0, 1 and 2: any number of any, and nothing unlisted.
#![allow(unsafe_code, reason = "numbers are the caller's to vouch for")]

mod jobserver;
pub(crate) mod listen;
pub(crate) mod mapping;
pub(crate) mod requests;

use crate::parent::command::Command;
use crate::parent::command::fd_request::FdRequest;
use crate::parent::command::stdio::FdArg;
use crate::parent::error::Step;
use crate::parent::std::{
    os::fd::{AsRawFd, OwnedFd, RawFd},
    string::String,
    sync::Arc,
    vec::Vec,
};

impl Command {
    /// Gives the child a descriptor, at the number `target`, open over exec.
    ///
    /// Any numbers serve, in any order: descriptors may trade places, and a
    /// target may be the number of another source. The same file at several
    /// numbers is [`OwnedFd::try_clone`] for each. 0 to 2 are allowed, if
    /// `stdin` and its fellows are not told of them.
    ///
    /// The descriptor is kept until this command is dropped, as it may spawn
    /// again: who reads a pipe whose writing end was given away sees its end
    /// only after that.
    ///
    /// # Errors
    ///
    /// [`Step::Fd`], naming source and target: a negative target, one that
    /// is asked for from two sources, or one that is not below RLIMIT_NOFILE;
    /// EBADF, if the source is closed; EMFILE, where a copy is needed and
    /// there is no room.
    ///
    /// See [`dup3(2)`].
    ///
    /// [`dup3(2)`]: https://man7.org/linux/man-pages/man2/dup.2.html
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
    pub fn fd(
        &mut self,
        target: RawFd,
        source: impl Into<OwnedFd>,
    ) -> &mut Command {
        self.request(target, source.into(), Step::Fd)
    }

    /// Gives the child a descriptor at the number that it has here.
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
        self.request(fd.as_raw_fd(), fd, Step::InheritFd)
    }

    fn request(
        &mut self,
        target: RawFd,
        fd: OwnedFd,
        by: Step,
    ) -> &mut Command {
        let from = FdArg::Owned(Arc::new(fd));
        self.options.descriptors.fds.push(FdRequest { target, from, by });
        self
    }

    /// Gives the child a descriptor that is known by its number only, at
    /// that number: a socket from the service manager, or one that an
    /// argument names. The same number twice is one option. For make's pipe
    /// see [`Command::inherit_jobserver`].
    ///
    /// # Safety
    ///
    /// As [`Command::raw_fd`].
    ///
    /// # Errors
    ///
    /// [`Step::InheritRawFd`] with EBADF, if it is not open here.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut make = Command::new("make");
    /// // SAFETY: nothing is made of it but a number.
    /// let error = unsafe { make.inherit_raw_fd(9999) }.spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::InheritRawFd);
    /// assert_eq!(error.to_string(), "inherit_raw_fd \"9999 -> 9999\": Bad \
    ///     file descriptor (os error 9): that descriptor is not open here");
    /// ```
    pub unsafe fn inherit_raw_fd(&mut self, fd: RawFd) -> &mut Command {
        let (from, by) = (FdArg::Raw(fd), Step::InheritRawFd);
        self.options.descriptors.fds.push(FdRequest { target: fd, from, by });
        self
    }

    /// Passes make's jobserver on, if this process has one, so that the
    /// program takes part in `make -j`: the pipe that MAKEFLAGS names by its
    /// two numbers (`--jobserver-auth=R,W`, `--jobserver-fds=R,W` before make
    /// 4.2), which are closed in the program otherwise.
    ///
    /// What counts is the environment that the program gets, of this
    /// process or by [`Command::env`]: CARGO_MAKEFLAGS (which cargo gives to
    /// build scripts), MAKEFLAGS and MFLAGS; in each the last of these
    /// options, as make reads them. A named pipe (`fifo:PATH`, make 4.4's
    /// own choice) is opened by the program itself.
    ///
    /// Where there is no jobserver nothing is passed on, and that is no
    /// error: no such variable, negative numbers, numbers that are closed or
    /// are not the two ends of one pipe. make leaves the variable to a recipe
    /// that it does not take for a make of its own (no `+`, no `$(MAKE)`),
    /// and closes the pipe; what this process has since opened at these
    /// numbers stays here. As the numbers are looked at when the plan is
    /// made, what is [prepared](Command::prepare) should be spawned while
    /// they stand for the same pipe. Numbers below 3 are never passed.
    ///
    /// Only one thing needs to be done by the caller: to start no more
    /// programs at once than it has tokens for.
    ///
    /// # Errors
    ///
    /// [`Step::InheritJobserver`], if the jobserver is there and another
    /// option has another descriptor at its number (the same one twice is
    /// one); EBADF, if it was closed after the plan was made.
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

    /// [`Command::fd`] for a descriptor that is known by its number only.
    /// Several targets may name one source; the same pair twice is one option.
    ///
    /// # Safety
    ///
    /// Clause 1: from the first call that plans or spawns until this command
    /// and what was prepared from it are dropped, nobody closes the number
    /// or gives it to another file; or it is closed all the time, which is
    /// an error of the spawn.
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
    /// // SAFETY: 1 stays open.
    /// unsafe { sh.raw_fd(5, 1) };
    /// assert!(sh.status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub unsafe fn raw_fd(
        &mut self,
        target: RawFd,
        source: RawFd,
    ) -> &mut Command {
        let from = FdArg::Raw(source);
        self.options.descriptors.fds.push(FdRequest {
            target,
            from,
            by: Step::Fd,
        });
        self
    }

    /// Whether the child also has every descriptor of this process that is
    /// not close-on-exec, as [`std::process::Command`] has it: whatever any
    /// library or thread has left open. By default it has none of them.
    ///
    /// The child's table of descriptors is a copy of the whole of this
    /// process's then: the time grows with their number. Where memory may
    /// not be shared (ids, [`Command::before_exec`]) it is copied
    /// ([`Engine::Copied`](crate::Engine::Copied)), as an image takes two
    /// numbers of its own; [`Engine::Isolated`](crate::Engine::Isolated) by
    /// name is refused.
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

    /// Passes listening sockets, as [`sd_listen_fds(3)`] finds them: from
    /// descriptor 3 up, in this order, with LISTEN_FDS and with LISTEN_PID,
    /// which the child fills in by itself. Further calls add to them.
    ///
    /// The variables of that protocol are not inherited from this process.
    /// A spawn allocates for its environment.
    ///
    /// # Errors
    ///
    /// [`Step::ListenFds`]: `env` or another descriptor option names the
    /// same; a name (see [`Command::listen_fds_named`]) that is not
    /// printable ASCII without colons, or over 255 bytes.
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
        // Even none is an answer: LISTEN_FDS=0.
        self.options.descriptors.listen.get_or_insert_default();
        for fd in fds {
            self.listen(None, fd.into());
        }
        self
    }

    /// [`Command::listen_fds`] with a name for each, which the program finds
    /// in LISTEN_FDNAMES.
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
        let place = i32::try_from(names.len()).unwrap_or(i32::MAX);
        names.push(name);
        self.request(listen::START.saturating_add(place), fd, Step::ListenFds);
    }
}
