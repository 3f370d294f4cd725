//! PATH: a bare name becomes the list of files that exec tries. Reads nothing
//! but the parent's PATH, if that is searched.

use crate::parent::command::PathSearch;
use crate::parent::error::{Error, Step};
use crate::parent::plan::strings::NUL;
use crate::parent::std::{env, os::unix::ffi::OsStrExt, vec::Vec};

/// The default PATH, as in `confstr(_CS_PATH)` and std.
const DEFAULT: &[u8] = b"/bin:/usr/bin";

impl PathSearch {
    /// Returns the PATH to search, or `None`; `child` is the child's.
    pub(super) fn path(
        &self,
        child: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let default = || Vec::from(DEFAULT);
        Ok(Some(match self {
            PathSearch::Child => child.unwrap_or_else(default),
            PathSearch::Parent => {
                let own = env::var_os("PATH");
                own.map_or_else(default, |path| path.as_bytes().into())
            }
            PathSearch::Dirs(dirs) => {
                let mut path = Vec::new();
                for dir in dirs {
                    let bytes = dir.as_os_str().as_bytes();
                    let why = match bytes {
                        _ if memchr::memchr(0, bytes).is_some() => NUL,
                        _ if memchr::memchr(b':', bytes).is_some() => {
                            "a directory that is searched cannot contain a colon"
                        }
                        _ => {
                            path.extend_from_slice(bytes);
                            path.push(b':');
                            continue;
                        }
                    };
                    let error = Error::refused(Step::PathSearch, why);
                    return Err(error.with(dir));
                }
                path
            }
            PathSearch::Never => return Ok(None),
        }))
    }
}

/// Returns the parts of each file to try, in order. A name that contains a
/// slash is the only one, as is any name if no PATH is searched.
pub(super) fn files<'a>(
    program: &'a [u8],
    path: Option<&'a [u8]>,
) -> Vec<[&'a [u8]; 3]> {
    let path = match path {
        Some(path) if memchr::memchr(b'/', program).is_none() => path,
        _ => return Vec::from([[program, b"", b""]]),
    };
    let entries = path.split(|byte| *byte == b':');
    let absolute = entries.filter(|entry| entry.starts_with(b"/"));
    absolute
        .map(|dir| {
            let slash: &[u8] = if dir.ends_with(b"/") { b"" } else { b"/" };
            [dir, slash, program]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{PathSearch, files};
    use crate::parent::std::{string::String, vec::Vec};

    fn tried(program: &str, path: Option<&str>) -> Vec<String> {
        let tried = files(program.as_bytes(), path.map(str::as_bytes));
        let join = |parts: &[&[u8]; 3]| parts.concat();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        tried.iter().map(join).map(text).collect()
    }

    #[test]
    fn a_name_with_a_slash_is_not_searched() {
        assert_eq!(tried("./a", Some("/bin")), ["./a"]);
        assert_eq!(tried("/x/a", None), ["/x/a"]);
    }

    #[test]
    fn empty_and_relative_entries_are_left_out() {
        let path = Some(":/a::b:./c:/d/:");
        assert_eq!(tried("x", path), ["/a/x", "/d/x"]);
        assert!(tried("x", Some("")).is_empty());
    }

    #[test]
    fn without_a_path_the_default_is_searched() {
        let path = PathSearch::Child.path(None).unwrap().unwrap();
        assert_eq!(path, b"/bin:/usr/bin");
        assert_eq!(tried("x", None), ["x"], "no search at all");
    }
}
