//! What a command was told: std's getters, and a line for a shell.

use super::Command;
use crate::parent::std::{
    ffi::OsStr, fmt, fmt::Write, os::unix::ffi::OsStrExt, path::Path,
};

impl Command {
    /// The program.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(offshoot::Command::new("ls").get_program(), "ls");
    /// ```
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        &self.wishes.program
    }

    /// The arguments, without the program's name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert!(ls.arg("-l").get_args().eq(["-l"]));
    /// ```
    pub fn get_args(&self) -> impl ExactSizeIterator<Item = &OsStr> {
        self.wishes.args.iter().map(AsRef::as_ref)
    }

    /// The variables that were set, and those that were removed (`None`), by
    /// name. What is inherited is not among them.
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
    pub fn get_envs(
        &self,
    ) -> impl ExactSizeIterator<Item = (&OsStr, Option<&OsStr>)> {
        let all = self.wishes.env.iter();
        all.map(|(key, value)| (key.as_ref(), value.as_deref()))
    }

    /// Whether the environment begins empty.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut ls = offshoot::Command::new("ls");
    /// assert!(ls.env_clear().get_env_clear());
    /// ```
    #[must_use]
    pub fn get_env_clear(&self) -> bool {
        self.wishes.env_clear
    }

    /// The directory, if one was given.
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
        self.wishes.current_dir.as_deref()
    }
}

/// A line that a shell takes: directory, environment, program, arguments.
/// Bytes that are not text, and control characters, come as `$'\033'`, which
/// bash, ksh and zsh read (POSIX has it since 2024).
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wishes = &self.wishes;
        if let Some(dir) = &wishes.current_dir {
            f.write_str("cd ")?;
            quote(f, dir.as_os_str())?;
            f.write_str(" && ")?;
        }
        let removed = || self.get_envs().filter(|(_, value)| value.is_none());
        if wishes.env_clear {
            f.write_str("env -i ")?;
        } else if removed().next().is_some() {
            f.write_str("env ")?;
            for (key, _) in removed() {
                f.write_str("-u ")?;
                quote(f, key)?;
                f.write_char(' ')?;
            }
        }
        for (key, value) in self.get_envs() {
            if let Some(value) = value {
                quote(f, key)?;
                f.write_char('=')?;
                quote(f, value)?;
                f.write_char(' ')?;
            }
        }
        if let Some(arg0) = &wishes.arg0 {
            f.write_str("exec -a ")?;
            quote(f, arg0)?;
            f.write_char(' ')?;
        }
        quote(f, &wishes.program)?;
        wishes.args.iter().try_for_each(|arg| {
            f.write_char(' ')?;
            quote(f, arg)
        })
    }
}

/// One word, quoted only where a shell would change it.
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
                    // Three octal digits end by themselves; hex digits
                    // would take the next character with them.
                    _ => write!(f, "\\{byte:03o}")?,
                }
            }
            f.write_char('\'')
        }
    }
}
