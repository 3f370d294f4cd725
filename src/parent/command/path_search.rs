//! `PathSearch`: where a bare program name is looked for.

use crate::parent::std::{path::PathBuf, vec::Vec};

/// Where a program whose name has no slash is looked for. Without a PATH it
/// is `/bin` and `/usr/bin`. Entries that are empty or not absolute are not
/// searched: they mean whatever directory the child happens to be in.
///
/// The child tries the files in order. It goes on after ENOENT, ENOTDIR,
/// ENAMETOOLONG, and what a file system that is gone gives (ENODEV, ESTALE,
/// ETIMEDOUT); it remembers EACCES and goes on; any other error ends the
/// search and is reported (ELOOP, ENOEXEC, E2BIG). Where none could be run,
/// EACCES is reported if there was one, else the last that was not
/// ENAMETOOLONG. A name of over 255 bytes is not looked for: ENAMETOOLONG.
/// [`Error::candidates`] has the files that were tried.
///
/// [`Error::candidates`]: crate::Error::candidates
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathSearch {
    /// In the PATH of the child's environment, as std has it: the parent's,
    /// unless set or removed on the builder.
    #[default]
    Child,
    /// In the parent's PATH, whatever the child's is.
    Parent,
    /// In these directories.
    Dirs(Vec<PathBuf>),
    /// Nowhere: the name is a path, from the child's directory.
    Never,
}
