//! The child's environment, as [`environ(7)`] has it.
//!
//! [`environ(7)`]: https://man7.org/linux/man-pages/man7/environ.7.html

use super::descriptors::listen;
use crate::parent::command::environment::{invalid_name, split};
use crate::parent::command::{Command, Environment, Options};
use crate::parent::error::{Error, Step};
use crate::parent::plan::StringTable;
use crate::parent::std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

impl Command {
    /// Sets an environment variable, replacing an earlier value.
    ///
    /// The value may be empty. Entries of the parent's environment that
    /// contain no `=` are not inherited, because std does not list them.
    ///
    /// # Errors
    ///
    /// [`Step::Env`], naming the variable, if the name is empty or contains
    /// `=`, or if the name or the value contains a NUL byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Step};
    ///
    /// let mut env = Command::new("env");
    /// env.env_clear().env("PATH", "/usr/bin:/bin").env("A", "1");
    /// assert_eq!(env.output()?.stdout, b"A=1\nPATH=/usr/bin:/bin\n");
    ///
    /// let error = env.env("B=C", "").spawn().unwrap_err();
    /// assert_eq!(error.step(), Step::Env);
    /// assert_eq!(error.operand().unwrap(), "B=C");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn env<K, V>(&mut self, key: K, value: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let key = key.as_ref().to_os_string();
        let value = value.as_ref().to_os_string();
        self.options.environment.vars.insert(key, Some(value));
        self
    }

    /// Sets several environment variables, as [`Command::env`] sets one.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut env = offshoot::Command::new("/usr/bin/env");
    /// env.env_clear().envs([("B", "2"), ("A", "1")]);
    /// assert_eq!(env.output()?.stdout, b"A=1\nB=2\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        for (key, value) in vars {
            self.env(key, value);
        }
        self
    }

    /// Removes an environment variable, inherited or set before.
    ///
    /// # Errors
    ///
    /// [`Step::Env`] for a name that [`Command::env`] refuses.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut sh = offshoot::Command::new("/bin/sh");
    /// sh.args(["-c", "echo ${HOME-none}"]).env_remove("HOME");
    /// assert_eq!(sh.output()?.stdout, b"none\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        let key = key.as_ref();
        let environment = &mut self.options.environment;
        // Nothing is inherited, so there is nothing else to remove.
        if environment.clear && environment.shared.is_none() {
            environment.vars.remove(key);
        } else {
            environment.vars.insert(key.to_os_string(), None);
        }
        self
    }

    /// Clears the environment: nothing is inherited, and variables that were
    /// set before are removed, as are those of [`Command::environment`].
    ///
    /// Without a PATH a bare program name is searched for in `/bin` and
    /// `/usr/bin`.
    ///
    /// # Examples
    ///
    /// ```
    /// let output = offshoot::Command::new("env").env_clear().output()?;
    /// assert_eq!(output.stdout, b"");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.options.environment.clear = true;
        self.options.environment.exact = None;
        self.options.environment.shared = None;
        self.options.environment.vars.clear();
        self
    }

    /// Sets the variables that take the place of this process's: the child
    /// inherits these and no others.
    ///
    /// Many commands can share an [`Environment`]. Their spawns neither read
    /// nor copy variables; with forty of them that takes about half of the
    /// time in which a plan is compiled. The engine isolated copies them into
    /// its helper, and a command that changes some copies the others.
    ///
    /// The command keeps the environment as it is now. A later call replaces
    /// it. [`Command::env`], [`Command::envs`] and [`Command::env_remove`]
    /// apply on top, in any order; a later [`Command::env_clear`] removes it.
    /// A bare program name is searched for in its PATH.
    ///
    /// # Errors
    ///
    /// [`Step::Env`], naming the variable, if one was [set](Environment::set)
    /// that [`Command::env`] refuses. [`Step::EnvExact`] with
    /// [`Command::env_exact`]. [`Step::Exec`] with E2BIG if a variable is
    /// longer than 131,071 bytes, or all of them and the arguments are longer
    /// than a quarter of the stack limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use offshoot::{Command, Environment};
    ///
    /// let env = Environment::from([("A", "1"), ("B", "2")]);
    /// let mut command = Command::new("env");
    /// command.environment(&env).env("B", "3");
    /// assert_eq!(command.output()?.stdout, b"A=1\nB=3\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    pub fn environment(&mut self, environment: &Environment) -> &mut Command {
        self.options.environment.shared = Some(environment.clone());
        self
    }

    /// Sets the whole environment, entry by entry.
    ///
    /// The entries are passed unchanged and in this order, including
    /// duplicates and entries without `=`, which programs may or may not find
    /// ([`environ(7)`]). Nothing is inherited. A later call replaces the
    /// entries, and [`Command::env_clear`] removes them.
    ///
    /// This passes on another process's environment, or tests how a program
    /// handles an unusual one. A bare program name is searched for in the
    /// first entry that begins with `PATH=`.
    ///
    /// # Errors
    ///
    /// [`Step::EnvExact`] if an entry contains a NUL byte, or if
    /// [`Command::env`], [`Command::env_remove`], [`Command::environment`] or
    /// [`Command::listen_fds`] is used too.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut env = offshoot::Command::new("/usr/bin/env");
    /// env.env_exact(["B=2", "A=1", "B=3", "odd"]);
    /// assert_eq!(env.output()?.stdout, b"B=2\nA=1\nB=3\nodd\n");
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    ///
    /// [`environ(7)`]: https://man7.org/linux/man-pages/man7/environ.7.html
    pub fn env_exact<I>(&mut self, entries: I) -> &mut Command
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let owned = |entry: I::Item| entry.as_ref().to_os_string();
        let entries = entries.into_iter().map(owned).collect();
        self.options.environment.exact = Some(entries);
        self
    }
}

/// Puts the environment into the string table: `own`, that of this process,
/// with the changes of the command.
pub(crate) fn environment(
    strings: &mut StringTable,
    options: &Options,
    own: Option<env::VarsOs>,
) -> Result<(), Error> {
    let vars = &options.environment.vars;
    if let Some(entries) = &options.environment.exact {
        return exact(strings, options, entries);
    }
    if let Some(names) = &options.descriptors.listen {
        listen::environment(strings, options, names)?;
    }
    let listens = options.descriptors.listen.is_some();
    let mut inherit = |key: &OsStr, value: &OsStr| {
        let changed = !vars.is_empty() && vars.contains_key(key);
        let replaced = listens && listen::is_variable(key);
        if changed || replaced {
            return Ok(());
        }
        let put = strings.inherited(key.as_bytes(), value.as_bytes());
        put.map_err(|why| why.of(Step::Env, key))
    };
    if let Some(shared) = &options.environment.shared {
        let shared = shared.packed()?;
        if vars.is_empty() && !listens {
            strings.share(shared);
            return Ok(());
        }
        for (key, value) in shared.entries().map(split) {
            inherit(key, value)?;
        }
    }
    for (key, value) in own.into_iter().flatten() {
        inherit(&key, &value)?;
    }
    for (key, value) in vars {
        variable(strings, key, value.as_deref())?;
    }
    strings.end_list();
    Ok(())
}

/// Adds a variable, unless it is removed.
fn variable(
    strings: &mut StringTable,
    key: &OsStr,
    value: Option<&OsStr>,
) -> Result<(), Error> {
    if let Some(why) = invalid_name(key.as_bytes()) {
        return Err(Error::refused(Step::Env, why).with(key));
    }
    let Some(value) = value else { return Ok(()) };
    let put = strings.pair(key.as_bytes(), value.as_bytes());
    put.map_err(|why| why.of(Step::Env, key))
}

/// Adds the entries of an exact environment.
fn exact(
    strings: &mut StringTable,
    options: &Options,
    entries: &[OsString],
) -> Result<(), Error> {
    let refuse = |why| Error::refused(Step::EnvExact, why);
    if let Some((key, value)) = options.environment.vars.first_key_value() {
        let why = match value {
            Some(_) => "env sets a variable too",
            None => "env_remove removes a variable too",
        };
        return Err(refuse(why).with(key));
    }
    if options.environment.shared.is_some() {
        return Err(refuse("environment sets all variables too"));
    }
    if options.descriptors.listen.is_some() {
        return Err(refuse("listen_fds sets variables too"));
    }
    for entry in entries {
        let put = strings.entry(entry.as_bytes());
        // An error names the variable only: its value may be a secret.
        let name = entry.as_bytes().split(|byte| *byte == b'=').next();
        let name = OsStr::from_bytes(name.unwrap_or_default());
        put.map_err(|why| why.of(Step::EnvExact, name))?;
    }
    strings.end_list();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::environment;
    use crate::parent::command::Command;
    use crate::parent::error::Step;
    use crate::parent::options::arguments::argv;
    use crate::parent::plan::strings::StringTable;

    #[test]
    fn the_option_that_has_too_much_text_is_named() {
        let options = |arg: &str, value: &str| {
            let mut command = Command::new("/bin/true");
            command.arg(arg).env("A", value);
            command.options
        };
        let step = |arg, value| {
            let options = options(arg, value);
            let mut strings = StringTable::with_room(22);
            let made = argv(&mut strings, &options).map(drop);
            let made =
                made.and_then(|()| environment(&mut strings, &options, None));
            let error = made.err()?;
            assert_eq!(error.operand(), None);
            Some(error.step())
        };
        assert_eq!(step("abcdef", "12"), None);
        assert_eq!(step("abcdef", "123"), Some(Step::Env));
        assert_eq!(step("abcdefabcdef", ""), Some(Step::Arg));
    }
}
