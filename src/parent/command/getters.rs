//! Getters of a command, and its `Debug`.

use core::{iter::FusedIterator, slice};

use super::Command;
use super::environment::{Environment, Hidden};
use super::shell_line::Line;
use crate::parent::std::{
    collections::btree_map,
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
    string::{String, ToString},
    vec::Vec,
};

impl Command {
    /// Returns the program, as it was passed to [`Command::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(offshoot::Command::new("ls").get_program(), "ls");
    /// ```
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        &self.options.program.name
    }

    /// Returns the programs that [`Command::candidates`] was given, the first
    /// of which is the program. For other commands the iterator is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let pager = offshoot::Command::candidates(["less", "more"]);
    /// assert_eq!(pager.get_program(), "less");
    /// assert!(pager.get_candidates().eq(["less", "more"]));
    /// ```
    pub fn get_candidates(&self) -> CommandArgs<'_> {
        CommandArgs(
            self.options
                .program
                .candidates
                .as_deref()
                .unwrap_or_default()
                .iter(),
        )
    }

    /// Returns the entries that were passed to [`Command::env_exact`].
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert!(ls.get_env_exact().is_none());
    /// ls.env_exact(["B=1", "A=1"]);
    /// assert!(ls.get_env_exact().unwrap().eq(["B=1", "A=1"]));
    /// ```
    pub fn get_env_exact(
        &self,
    ) -> Option<impl ExactSizeIterator<Item = &OsStr>> {
        let all = self.options.environment.exact.as_ref()?;
        Some(all.iter().map(OsString::as_os_str))
    }

    /// Returns the arguments, without argument 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert!(ls.arg("-l").get_args().eq(["-l"]));
    /// ```
    pub fn get_args(&self) -> CommandArgs<'_> {
        CommandArgs(self.options.program.args.iter())
    }

    /// Returns the variables that were set or removed (`None`), by name.
    /// Variables that are inherited, or those of [`Command::environment`], are
    /// not included.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// ls.env("A", "1").env_remove("B");
    /// let all: Vec<_> = ls.get_envs().collect();
    /// assert_eq!(all[0], ("A".as_ref(), Some("1".as_ref())));
    /// assert_eq!(all[1], ("B".as_ref(), None));
    /// ```
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        CommandEnvs(self.options.environment.vars.iter())
    }

    /// Returns the environment that was passed to [`Command::environment`].
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Environment};
    ///
    /// let env = Environment::from([("A", "1")]);
    /// let mut ls = Command::new("ls");
    /// assert_eq!(ls.get_environment(), None);
    /// assert_eq!(ls.environment(&env).get_environment(), Some(&env));
    /// ```
    #[must_use]
    pub fn get_environment(&self) -> Option<&Environment> {
        self.options.environment.shared.as_ref()
    }

    /// Returns whether [`Command::env_clear`] was called.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert!(ls.env_clear().get_env_clear());
    /// ```
    #[must_use]
    pub fn get_env_clear(&self) -> bool {
        self.options.environment.clear
    }

    /// Returns the working directory, if it was set.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert_eq!(ls.get_current_dir(), None);
    /// assert_eq!(ls.current_dir("/").get_current_dir().unwrap(), "/");
    /// ```
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.options.directory.current_dir.as_deref()
    }

    /// Returns the line that `{:?}` prints, but with the values of variables:
    /// to run it again, not to log it.
    ///
    /// The line is for bash and has the directory, the environment, argument
    /// 0, the program and the arguments: see [`Command`'s
    /// `Debug`](Command#impl-Debug-for-Command).
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// ls.arg("my file").env("LC_ALL", "C").env_remove("LS_COLORS");
    /// let line = "env -u LS_COLORS LC_ALL=C ls 'my file'";
    /// assert_eq!(ls.to_shell_line(), line);
    /// ```
    #[must_use]
    pub fn to_shell_line(&self) -> String {
        Line { options: &self.options, values: true }.to_string()
    }
}

/// An iterator over the arguments of a command: see [`Command::get_args`].
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct CommandArgs<'a>(slice::Iter<'a, OsString>);

impl<'a> Iterator for CommandArgs<'a> {
    type Item = &'a OsStr;

    fn next(&mut self) -> Option<&'a OsStr> {
        self.0.next().map(OsString::as_os_str)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for CommandArgs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(OsString::as_os_str)
    }
}

impl ExactSizeIterator for CommandArgs<'_> {}
impl FusedIterator for CommandArgs<'_> {}

impl fmt::Debug for CommandArgs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// An iterator over the variables that a command sets and removes: see
/// [`Command::get_envs`].
///
/// `{:?}` shows their names without the values.
#[derive(Clone)]
#[must_use = "iterators are lazy"]
pub struct CommandEnvs<'a>(btree_map::Iter<'a, OsString, Option<OsString>>);

/// A name, and the value unless the variable is removed.
type Variable<'a> = (&'a OsStr, Option<&'a OsStr>);

fn variable<'a>(
    (key, value): (&'a OsString, &'a Option<OsString>),
) -> Variable<'a> {
    (key, value.as_deref())
}

impl<'a> Iterator for CommandEnvs<'a> {
    type Item = (&'a OsStr, Option<&'a OsStr>);

    fn next(&mut self) -> Option<Variable<'a>> {
        self.0.next().map(variable)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for CommandEnvs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(variable)
    }
}

impl ExactSizeIterator for CommandEnvs<'_> {}
impl FusedIterator for CommandEnvs<'_> {}

impl fmt::Debug for CommandEnvs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |(key, value): Variable<'_>| {
            (key.to_os_string(), value.map(|_| Hidden))
        };
        f.debug_map().entries(self.clone().map(hidden)).finish()
    }
}

/// Prints a line for a shell: directory, environment, argument 0, program and
/// arguments, and none of the other options. Words are quoted where a shell
/// would change them. Control characters and bytes that are not UTF-8 are
/// printed as `$'\033'`, which bash, ksh and zsh read (in POSIX since 2024).
/// bash accepts every line, other shells those without an
/// [`arg0`](Command::arg0).
///
/// Values of variables are left out, as the line may be logged: `A="$A"` takes
/// the value from the shell that runs the line, and a name that no shell
/// variable can have gets `...`. [`Command::to_shell_line`] prints the values.
///
/// bash itself sets PWD, OLDPWD, SHLVL and `_` for what it runs, and with an
/// `arg0` its own variables (IFS, PS4, BASH_VERSION). A program that is a
/// descriptor or bytes has no name that a shell could run.
///
/// `{:#?}` prints the fields that are set, one to a line, as std's does,
/// without the values of variables.
///
/// # Examples
///
/// ```
/// let mut ls = offshoot::Command::new("ls");
/// ls.arg("my file").env("LC_ALL", "C").current_dir("/srv");
/// let line = r#"cd /srv && env LC_ALL="$LC_ALL" ls 'my file'"#;
/// assert_eq!(format!("{ls:?}"), line);
/// ```
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return self.fields(f);
        }
        write!(f, "{}", Line { options: &self.options, values: false })
    }
}

/// The fields of `std::process::Command`'s `CommandEnv`.
struct CommandEnv<'a>(bool, CommandEnvs<'a>);

impl fmt::Debug for CommandEnv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandEnv")
            .field("clear", &self.0)
            .field("vars", &self.1)
            .finish()
    }
}

impl Command {
    /// std's names first, in its order, then ours. Fields that are not set are
    /// left out.
    fn fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = &self.options.program;
        let name = program.arg0.as_ref().unwrap_or(&program.name);
        let mut args: Vec<&OsStr> = Vec::from([name.as_os_str()]);
        args.extend(self.get_args());
        let mut all = f.debug_struct("Command");
        all.field("program", &program.name).field("args", &args);
        let clear = self.get_env_clear();
        if clear || self.get_envs().len() > 0 {
            all.field("env", &CommandEnv(clear, self.get_envs()));
        }
        let set = &mut |name, is_set, value: &dyn fmt::Debug| {
            if is_set {
                all.field(name, value);
            }
        };
        self.each_field(set);
        self.options.signals.each_field(set);
        all.finish()
    }
}
