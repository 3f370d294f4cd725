//! PATH: a bare name becomes the list of files that exec tries. Pure.

use crate::parent::std::vec::Vec;

/// Where a program is looked for when the environment has no PATH: what
/// `confstr(_CS_PATH)` says and std uses.
const DEFAULT: &[u8] = b"/bin:/usr/bin";

/// The parts of each candidate, in order. A name with a slash is itself the
/// only one. Empty and relative entries of PATH are not searched: they mean
/// whatever directory the child happens to be in.
pub(crate) fn candidates<'a>(
    program: &'a [u8],
    path: Option<&'a [u8]>,
) -> Vec<[&'a [u8]; 3]> {
    if memchr::memchr(b'/', program).is_some() {
        return Vec::from([[program, b"", b""]]);
    }
    let path = path.unwrap_or(DEFAULT);
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
    use super::candidates;
    use crate::parent::std::{string::String, vec::Vec};

    fn tried(program: &str, path: Option<&str>) -> Vec<String> {
        let tried = candidates(program.as_bytes(), path.map(str::as_bytes));
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
        assert_eq!(tried("x", None), ["/bin/x", "/usr/bin/x"]);
    }
}
