//! `ChildOpenOptions`: how the child opens a file.

use core::fmt;

use crate::parent::std::{os::fd::RawFd, path::PathBuf};

/// How a child opens a file ([`Command::open_in_child`]), with the methods of
/// [`std::fs::OpenOptions`], whose values cannot be read.
///
/// # Examples
///
/// ```
/// use offshoot::ChildOpenOptions;
///
/// let mut log = ChildOpenOptions::new();
/// log.append(true).create(true).mode(0o640);
/// ```
///
/// [`Command::open_in_child`]: crate::Command::open_in_child
/// [`std::fs::OpenOptions`]: https://doc.rust-lang.org/std/fs/struct.OpenOptions.html
#[derive(Clone, PartialEq, Eq, Hash)]
#[must_use = "it does nothing by itself"]
pub struct ChildOpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    custom: i32,
}

/// A file that the child opens.
#[derive(Clone, Debug)]
pub(crate) struct OpenRequest {
    pub(crate) target: RawFd,
    pub(crate) path: PathBuf,
    pub(crate) options: ChildOpenOptions,
}

/// Set in every call: the child never acquires a terminal by an open, and
/// exec closes the descriptor that is not at its number yet.
const ALWAYS: i32 = libc::O_NOCTTY | libc::O_CLOEXEC;

impl ChildOpenOptions {
    /// Nothing is permitted yet; files are created with the mode `0o666`.
    pub const fn new() -> ChildOpenOptions {
        ChildOpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom: 0,
        }
    }

    /// Sets whether the file is opened for reading.
    pub const fn read(&mut self, read: bool) -> &mut ChildOpenOptions {
        self.read = read;
        self
    }

    /// Sets whether the file is opened for writing.
    pub const fn write(&mut self, write: bool) -> &mut ChildOpenOptions {
        self.write = write;
        self
    }

    /// Sets whether every write goes to the end of the file (`O_APPEND`).
    pub const fn append(&mut self, append: bool) -> &mut ChildOpenOptions {
        self.append = append;
        self
    }

    /// Sets whether the file is emptied (`O_TRUNC`).
    pub const fn truncate(&mut self, truncate: bool) -> &mut ChildOpenOptions {
        self.truncate = truncate;
        self
    }

    /// Sets whether a missing file is created (`O_CREAT`).
    pub const fn create(&mut self, create: bool) -> &mut ChildOpenOptions {
        self.create = create;
        self
    }

    /// Sets whether the file must be a new one (`O_CREAT` with `O_EXCL`);
    /// [`ChildOpenOptions::create`] and [`ChildOpenOptions::truncate`] have no
    /// effect then.
    pub const fn create_new(&mut self, new: bool) -> &mut ChildOpenOptions {
        self.create_new = new;
        self
    }

    /// Sets the permissions of a file that is created. Those in the file mode
    /// creation mask of the child ([`Command::umask`]) are taken away.
    ///
    /// [`Command::umask`]: crate::Command::umask
    pub const fn mode(&mut self, mode: u32) -> &mut ChildOpenOptions {
        self.mode = mode;
        self
    }

    /// Sets further flags of [`open(2)`]: `O_NONBLOCK`, `O_NOFOLLOW`,
    /// `O_DIRECTORY`, `O_PATH`, `O_SYNC`. The access mode in them is ignored,
    /// and so is `O_CLOEXEC`. `O_NOCTTY` is always set.
    ///
    /// [`open(2)`]: https://man7.org/linux/man-pages/man2/open.2.html
    pub const fn custom_flags(&mut self, flags: i32) -> &mut ChildOpenOptions {
        self.custom = flags;
        self
    }

    /// The flags and the mode of openat, or why they are not valid: as std's.
    pub(crate) fn flags(&self) -> Result<(i32, u32), &'static str> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) if self.custom & libc::O_PATH != 0 => 0,
            (false, false, false) => {
                return Err("one of read, write and append must be set");
            }
        };
        let creates = self.truncate || self.create || self.create_new;
        if creates && !self.write && !self.append {
            return Err("truncate and create need write or append");
        }
        if self.append && self.truncate && !self.create_new {
            return Err("append and truncate exclude each other");
        }
        if self.mode > 0o7777 {
            return Err("a mode has twelve bits, 0o7777 at most");
        }
        let creation = match (self.create, self.truncate, self.create_new) {
            (.., true) => libc::O_CREAT | libc::O_EXCL,
            (create, truncate, false) => {
                let create = if create { libc::O_CREAT } else { 0 };
                create | if truncate { libc::O_TRUNC } else { 0 }
            }
        };
        let custom = self.custom & !libc::O_ACCMODE;
        let flags = access | creation | custom | ALWAYS;
        // The kernel ignores the mode otherwise.
        let makes = flags & (libc::O_CREAT | libc::O_TMPFILE) != 0;
        Ok((flags, if makes { self.mode } else { 0 }))
    }
}

impl Default for ChildOpenOptions {
    fn default() -> ChildOpenOptions {
        ChildOpenOptions::new()
    }
}

/// The options that are set.
impl fmt::Debug for ChildOpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("ChildOpenOptions");
        for (name, set) in [
            ("read", self.read),
            ("write", self.write),
            ("append", self.append),
            ("truncate", self.truncate),
            ("create", self.create),
            ("create_new", self.create_new),
        ] {
            if set {
                all.field(name, &set);
            }
        }
        all.field("mode", &format_args!("{:#o}", self.mode));
        all.field("custom_flags", &format_args!("{:#x}", self.custom));
        all.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ALWAYS, ChildOpenOptions};

    #[test]
    fn flags_are_those_of_std() {
        use libc::{O_APPEND, O_CREAT, O_EXCL, O_RDWR, O_TRUNC, O_WRONLY};
        let new = ChildOpenOptions::new;
        let flags = |options: &ChildOpenOptions| options.flags();
        assert_eq!(flags(new().read(true)), Ok((ALWAYS, 0)));
        let both = ALWAYS | O_RDWR;
        assert_eq!(flags(new().read(true).write(true)), Ok((both, 0)));
        let made = ALWAYS | O_WRONLY | O_CREAT | O_TRUNC;
        let create = flags(new().write(true).create(true).truncate(true));
        assert_eq!(create, Ok((made, 0o666)));
        let log = ALWAYS | O_WRONLY | O_APPEND | O_CREAT;
        let append = flags(new().append(true).create(true).mode(0o600));
        assert_eq!(append, Ok((log, 0o600)));
        let fresh = ALWAYS | O_WRONLY | O_CREAT | O_EXCL;
        let create = new().write(true).truncate(true).create_new(true).flags();
        assert_eq!(create, Ok((fresh, 0o666)));
        let custom = libc::O_NONBLOCK | libc::O_RDWR;
        let custom = flags(new().read(true).custom_flags(custom));
        assert_eq!(custom, Ok((ALWAYS | libc::O_NONBLOCK, 0)));
        let path = flags(new().custom_flags(libc::O_PATH));
        assert_eq!(path, Ok((ALWAYS | libc::O_PATH, 0)));
    }

    #[test]
    fn options_that_std_rejects_are_refused() {
        let new = ChildOpenOptions::new;
        for options in [
            new(),
            new().read(true).create(true).clone(),
            new().read(true).truncate(true).clone(),
            new().append(true).truncate(true).clone(),
            new().read(true).create_new(true).clone(),
            new().write(true).create(true).mode(0o10000).clone(),
        ] {
            assert!(options.flags().is_err(), "{options:?}");
        }
    }
}
