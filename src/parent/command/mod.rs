//! `Command`: the wishes. Setters never fail and make no system call.

pub(crate) mod cgroup;
pub(crate) mod fd_request;
mod getters;
pub(crate) mod groups;
pub(crate) mod hook;
pub(crate) mod method;
pub(crate) mod options;
pub(crate) mod parent_hook;
pub(crate) mod path_search;
pub(crate) mod program_source;
mod shell_line;
pub(crate) mod stdio;

pub use getters::{CommandArgs, CommandEnvs};

use options::{Options, ProgramOptions};

use super::std::ffi::OsStr;

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
    pub(crate) options: Options,
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
        let name = program.as_ref().to_os_string();
        let program = ProgramOptions { name, ..ProgramOptions::default() };
        Command { options: Options { program, ..Options::default() } }
    }
}

const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Command>();
};
