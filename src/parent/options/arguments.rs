//! Arguments: what the program is called and told.

use crate::parent::command::Command;
use crate::parent::command::method::Engine;
use crate::parent::command::options::Options;
use crate::parent::error::{Error, Step};
use crate::parent::plan::op::Str;
use crate::parent::plan::strings::StringTable;
use crate::parent::std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

impl Command {
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
        self.options.program.args.push(arg.as_ref().to_os_string());
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
        self.options.program.args.extend(args.into_iter().map(owned));
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
        self.options.program.arg0 = Some(arg.as_ref().to_os_string());
        self
    }

    /// Which engine is to be used, for tests and measurements.
    #[doc(hidden)]
    pub fn engine(&mut self, engine: Engine) -> &mut Command {
        self.options.launch.engine = Some(engine);
        self
    }
}

/// Puts the program's name and its argv into the string table.
pub(crate) fn argv(
    strings: &mut StringTable,
    options: &Options,
) -> Result<Str, Error> {
    let program = options.program.name.as_os_str();
    let (by, why) = match &options.program.candidates {
        None => (Step::Program, "it is empty"),
        Some(all) if all.is_empty() => (Step::Candidates, "there is none"),
        Some(_) => (Step::Candidates, "one of them is empty"),
    };
    if program.is_empty() {
        let error = Error::refused_as(by, libc::ENOENT, why);
        return Err(error.with(program));
    }
    let name = match &options.program.arg0 {
        None => strings.argument(program.as_bytes()),
        Some(_) => strings.put(&[program.as_bytes()]),
    };
    let name = name.map_err(|why| why.of(by, program))?;
    if let Some(arg0) = &options.program.arg0 {
        let put = strings.argument(arg0.as_bytes());
        put.map_err(|why| why.of(Step::Arg0, arg0))?;
    }
    for arg in &options.program.args {
        let put = strings.argument(arg.as_bytes());
        put.map_err(|why| why.of(Step::Arg, arg))?;
    }
    strings.end_list();
    Ok(name)
}
