//! `Command`: the wishes. Setters never fail and make no system call.

mod again;
mod attempt;
mod blame;
mod canary;
mod changes;
mod ends;
mod env;
mod fds;
mod files;
mod gate;
mod held;
mod here;
mod identity;
mod launch;
mod lesser;
mod lowered;
mod method;
mod page;
pub(crate) mod prepared;
mod program;
mod reason;
mod session;
mod shell;
mod show;
mod tried;
mod undo;

pub use show::{CommandArgs, CommandEnvs};

use super::plan::Wishes;
use super::plan::method::Engine;
use super::std::ffi::{OsStr, OsString};

/// A program to start, and how.
///
/// The names are those of [`std::process::Command`]. Setters take note and
/// never fail; what they were told is checked, once, by [`Command::plan`],
/// [`Command::prepare`] or [`Command::spawn`], before any process is made.
///
/// A child has the descriptors 0, 1 and 2, and no other. It has the
/// process's environment at the time of the call, the caller's signal mask,
/// no signal handlers, and SIGPIPE at its default.
///
/// # Examples
///
/// ```
/// use offshoot::Command;
///
/// let output = Command::new("echo").args(["a", "b"]).output()?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"a b\n");
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`std::process::Command`]: https://doc.rust-lang.org/std/process/struct.Command.html
#[derive(Clone)]
pub struct Command {
    pub(crate) wishes: Wishes,
}

impl Command {
    /// A command for a program. A name with a slash is a path; a bare name
    /// is looked for in the directories of the child's `PATH`, leaving out
    /// entries that are empty or not absolute. A relative path is looked up
    /// by the child, after [`Command::current_dir`].
    ///
    /// An empty name and a NUL byte are errors of
    /// [`Step::Program`](crate::Step::Program).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(offshoot::Command::new("/bin/true").status()?.success());
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        let program = program.as_ref().to_os_string();
        Command { wishes: Wishes { program, ..Wishes::default() } }
    }

    /// Adds one argument, passed as it is: nothing is split or expanded.
    ///
    /// One argument may have 131,071 bytes; all of them, with the
    /// environment, about a quarter of `RLIMIT_STACK`. More is an error of
    /// [`Step::Exec`](crate::Step::Exec) with E2BIG ([`execve(2)`]). A NUL
    /// byte is an error of [`Step::Arg`](crate::Step::Arg).
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("echo").arg("a  *").output()?;
    /// assert_eq!(output.stdout, b"a  *\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`execve(2)`]: https://man7.org/linux/man-pages/man2/execve.2.html
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.wishes.args.push(arg.as_ref().to_os_string());
        self
    }

    /// Adds arguments, as [`Command::arg`] does one.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut expr = offshoot::Command::new("expr");
    /// assert_eq!(expr.args(["6", "*", "7"]).output()?.stdout, b"42\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let owned = |arg: S| -> OsString { arg.as_ref().to_os_string() };
        self.wishes.args.extend(args.into_iter().map(owned));
        self
    }

    /// The name that the program sees as its own, its argument 0, in place
    /// of the one that it was found by.
    ///
    /// A NUL byte is an error of [`Step::Arg0`](crate::Step::Arg0).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("/bin/sh");
    /// sh.arg0("mysh").args(["-c", "echo $0"]);
    /// assert_eq!(sh.output()?.stdout, b"mysh\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn arg0<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.wishes.arg0 = Some(arg.as_ref().to_os_string());
        self
    }

    /// Which engine is to be used, for tests and measurements.
    #[doc(hidden)]
    pub fn engine(&mut self, engine: Engine) -> &mut Command {
        self.wishes.engine = Some(engine);
        self
    }
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Command>();
};
