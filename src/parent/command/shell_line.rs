//! A command as a line that bash accepts.

use core::fmt::{self, Write};

use super::environment::Environment;
use crate::parent::command::options::Options;
use crate::parent::std::{
    ffi::OsStr, os::unix::ffi::OsStrExt, path::Component, path::Path,
};

/// A command, displayed as a line.
pub(super) struct Line<'a> {
    pub(super) options: &'a Options,
    /// Whether the values of variables are printed.
    pub(super) values: bool,
}

/// Runs a program with another argument 0, after `env`: `$0` is that name.
/// With `-p` bash reads no file that a variable names and imports no function
/// from the environment.
const EXEC: &str = r#"bash -pc 'exec -a "$0" -- "$@"' "#;

/// Words that bash does not look up as programs. Words whose program does the
/// same (`echo`, `true`, `test`) are left out, as are those that are quoted
/// anyway.
const OWN: &str = "\
    . : alias bg bind break builtin caller case cd command compgen \
    complete compopt continue coproc declare dirs disown do done elif else \
    enable esac eval exec exit export fc fg fi for function getopts hash \
    help history if in jobs let local logout mapfile popd pushd read \
    readarray readonly return select set shift shopt source suspend then \
    time times trap type typeset ulimit umask unalias unset until wait \
    while";

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options;
        if let Some(dir) = &options.directory.current_dir {
            directory(f, dir)?;
        }
        let program = options.program.name.as_bytes();
        // env takes these for a variable or for -i.
        let odd = program.contains(&b'=') || program == b"-";
        let env = &options.environment;
        let exact = env.exact.is_some();
        let replaced = env.clear || exact || env.shared.is_some();
        let changed = replaced || !env.vars.is_empty();
        let arg0 = match &options.program.arg0 {
            None if changed && odd => Some(&options.program.name),
            arg0 => arg0.as_ref(),
        };
        let dash = |word: &[u8]| word.first() == Some(&b'-');
        if changed {
            self.environment(f)?;
            if arg0.is_none() && !self.sets_any() && dash(program) {
                f.write_str("-- ")?;
            }
        }
        match arg0 {
            Some(arg0) if changed => {
                f.write_str(EXEC)?;
                quote(f, arg0)?;
                f.write_char(' ')?;
            }
            // In a subshell, as exec replaces the shell that runs it.
            Some(arg0) => {
                f.write_str("(exec -a ")?;
                quote(f, arg0)?;
                f.write_str(if dash(program) { " -- " } else { " " })?;
            }
            None if !changed && is_own(program) => f.write_str("env ")?,
            None => {}
        }
        quote(f, &options.program.name)?;
        for arg in &options.program.args {
            f.write_char(' ')?;
            quote(f, arg)?;
        }
        if arg0.is_some() && !changed {
            f.write_char(')')?;
        }
        self.rest(f)
    }
}

impl Line<'_> {
    fn sets_any(&self) -> bool {
        self.set().next().is_some()
    }

    /// The variables that `env` can set. Of an exact environment these are the
    /// entries with a name, the first of several with one name, as in getenv.
    fn set(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let env = &self.options.environment;
        let set = env.vars.iter().filter_map(|(key, value)| {
            Some((key.as_os_str(), value.as_deref()?))
        });
        let exact = env.exact.as_deref().unwrap_or_default();
        let exact = exact.iter().enumerate().filter_map(|(n, entry)| {
            let name = name_of(entry);
            let value = entry.as_bytes().get(name.len() + 1..)?;
            let mut before = exact.iter().take(n).map(|at| name_of(at));
            let is = !name.is_empty() && !before.any(|at| at == name);
            is.then_some((name, OsStr::from_bytes(value)))
        });
        // Of two with one name the first counts, but env takes the last.
        let shared = env.shared.as_ref().map(Environment::iter);
        let shared = shared.into_iter().flatten();
        let shared = shared.filter(|(key, _)| {
            let own = env.vars.contains_key(*key);
            let odd = key.as_bytes().starts_with(b"=");
            !own && !odd
        });
        let shared = shared.map(|(key, value)| {
            let first = env.shared.as_ref().and_then(|env| env.get(key));
            (key, first.unwrap_or(value))
        });
        shared.chain(set).chain(exact)
    }

    /// Prints, as a comment, the candidates that a line cannot express.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.options.program.candidates.as_deref();
        let others = all.and_then(|all| all.get(1..)).unwrap_or_default();
        for (n, other) in others.iter().enumerate() {
            f.write_str(if n == 0 { " # or: " } else { " " })?;
            quote(f, other)?;
        }
        Ok(())
    }

    /// Prints an `env` command: it takes any name, while an assignment of the
    /// shell takes only names of shell variables that are not read-only.
    fn environment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env = &self.options.environment;
        let empty = env.clear || env.exact.is_some() || env.shared.is_some();
        f.write_str(if empty { "env -i " } else { "env " })?;
        let removed = env.vars.iter().filter(|(_, value)| value.is_none());
        // After -i there is nothing to remove.
        for (key, _) in removed.filter(|_| !empty) {
            f.write_str("-u ")?;
            quote(f, key)?;
            f.write_char(' ')?;
        }
        for (n, (key, value)) in self.set().enumerate() {
            if n == 0 && key.as_bytes().starts_with(b"-") {
                f.write_str("-- ")?;
            }
            quote(f, key)?;
            f.write_char('=')?;
            match key.to_str() {
                _ if self.values => quote(f, value)?,
                Some(name) if is_name(name) => write!(f, "\"${name}\"")?,
                _ => f.write_str("...")?,
            }
            f.write_char(' ')?;
        }
        Ok(())
    }
}

/// Returns the part of an environment entry before the first `=`.
pub(super) fn name_of(entry: &OsStr) -> &OsStr {
    let bytes = entry.as_bytes();
    let end = memchr::memchr(b'=', bytes).unwrap_or(bytes.len());
    OsStr::from_bytes(bytes.get(..end).unwrap_or_default())
}

/// Whether a shell variable may have that name.
fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// Whether the shell does not look the name up as a program. `%` begins the
/// number of a job.
fn is_own(program: &[u8]) -> bool {
    let word = core::str::from_utf8(program).unwrap_or_default();
    let job = word.starts_with('%') && !word.contains('/');
    job || OWN.split(' ').any(|own| own == word)
}

/// Prints a `cd` command. `cd` searches CDPATH for a relative name that does
/// not begin with a dot, and takes a leading `-` for an option or the previous
/// directory. Without `-P` it resolves `..` by name, and the kernel by
/// directory.
fn directory(f: &mut fmt::Formatter<'_>, dir: &Path) -> fmt::Result {
    let up = dir.components().any(|part| part == Component::ParentDir);
    f.write_str(if up { "cd -P " } else { "cd " })?;
    let bytes = dir.as_os_str().as_bytes();
    let dots: [&[u8]; 2] = [b".", b".."];
    let plain = bytes.is_empty()
        || dots.contains(&bytes)
        || [&b"/"[..], b"./", b"../"].iter().any(|s| bytes.starts_with(s));
    if !plain {
        f.write_str("./")?;
    }
    quote(f, dir.as_os_str())?;
    f.write_str(" && ")
}

/// Prints a word, quoted only where a shell would change it.
fn quote(f: &mut fmt::Formatter<'_>, word: &OsStr) -> fmt::Result {
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || b"%+,-./:@_".contains(byte)
    };
    let bytes = word.as_bytes();
    let text = word.to_str();
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) if !bytes.is_empty() && bytes.iter().all(plain) => {
            f.write_str(text)
        }
        Some(text) => {
            let mut parts = text.split('\'');
            write!(f, "'{}", parts.next().unwrap_or_default())?;
            parts.try_for_each(|part| write!(f, "'\\''{part}"))?;
            f.write_char('\'')
        }
        None => {
            f.write_str("$'")?;
            for byte in bytes {
                match byte {
                    b'\\' | b'\'' => write!(f, "\\{}", char::from(*byte))?,
                    b' '..=b'~' => f.write_char(char::from(*byte))?,
                    // An octal escape ends after three digits; a hex escape
                    // would include a hex digit that follows.
                    _ => write!(f, "\\{byte:03o}")?,
                }
            }
            f.write_char('\'')
        }
    }
}
