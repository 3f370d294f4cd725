//! Arguments of the program, argument 0 included.

use crate::parent::command::{Command, Engine, Options};
use crate::parent::error::{Error, Step};
use crate::parent::plan::{Str, StringTable};
use crate::parent::std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

impl Command {
    /// Adds an argument to pass to the program.
    ///
    /// The argument is passed unchanged: it is not split, expanded or
    /// interpreted by a shell.
    ///
    /// # Errors
    ///
    /// [`Step::Arg`] if the argument contains a NUL byte. [`Step::Exec`] with
    /// E2BIG if it is longer than 131,071 bytes, or if all arguments and
    /// variables together take more than about a quarter of `RLIMIT_STACK`
    /// ([`execve(2)`]).
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

    /// Adds several arguments, as [`Command::arg`] adds one.
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

    /// Sets argument 0, the name that the program sees as its own.
    ///
    /// By default it is the name that the command was created with.
    ///
    /// # Errors
    ///
    /// [`Step::Arg0`] if it contains a NUL byte.
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

    /// Selects the engine, for tests and measurements.
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
        None => (Step::Program, "the name is empty"),
        Some(all) if all.is_empty() => (Step::Candidates, "the list is empty"),
        Some(_) => (Step::Candidates, "a candidate is empty"),
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
