//! `PathSearch`: where a bare program name is searched for.

use crate::parent::std::{path::PathBuf, vec::Vec};

/// Where a program whose name contains no slash is searched for.
///
/// If PATH is not set, `/bin` and `/usr/bin` are searched. Entries that are
/// empty or not absolute are skipped, as they depend on the working directory.
///
/// The child tries the files in order. It continues after ENOENT, ENOTDIR,
/// ENAMETOOLONG and the errors of a file system that is gone (ENODEV, ESTALE,
/// ETIMEDOUT), and after EACCES, which it records. Any other error (ELOOP,
/// ENOEXEC, E2BIG) ends the search and is reported. If no file can be
/// executed, EACCES is reported if it was recorded, else the last error other
/// than ENAMETOOLONG. A name over 255 bytes is not searched for: ENAMETOOLONG.
/// [`Error::candidates`] lists the files that were tried.
///
/// # Examples
///
/// ```
/// use offshoot::{Command, PathSearch};
///
/// let mut ls = Command::new("ls");
/// ls.path_search(PathSearch::Dirs(vec!["/bin".into()])).arg("/dev/null");
/// assert_eq!(ls.output()?.stdout, b"/dev/null\n");
/// # Ok::<(), offshoot::Error>(())
/// ```
///
/// [`Error::candidates`]: crate::Error::candidates
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathSearch {
    /// The PATH of the child's environment, as in std: that of the parent
    /// unless the command sets or removes it.
    #[default]
    Child,
    /// The PATH of the parent, even if the child's differs.
    Parent,
    /// These directories.
    Dirs(Vec<PathBuf>),
    /// No search: the name is a path relative to the child's directory.
    Never,
}
