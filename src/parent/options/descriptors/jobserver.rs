//! Jobserver: the pipe that make's variables name by two numbers.

use crate::parent::command::{FdArg, FdRequest};
use crate::parent::error::Step;
use crate::parent::plan::StringTable;
use crate::parent::std::vec::Vec;
use crate::sys::fds::{Pipe, pipe};

/// Variables that name a jobserver: of cargo, make, and old makes.
const NAMES: [&[u8]; 3] = [b"CARGO_MAKEFLAGS", b"MAKEFLAGS", b"MFLAGS"];

/// The options in them, the second of make before 4.2.
const OPTIONS: [&[u8]; 2] = [b"--jobserver-auth=", b"--jobserver-fds="];

/// Returns the descriptors of each jobserver that the environment names and
/// that is open, at their own numbers.
pub(super) fn found(strings: &StringTable) -> Vec<FdRequest> {
    let mut found: Vec<FdRequest> = Vec::new();
    let values = NAMES.iter().filter_map(|name| strings.value(name));
    for (read, write) in values.filter_map(named).filter(is_there) {
        for number in [read, write] {
            if found.iter().all(|fd| fd.target != number) {
                let (from, by) = (FdArg::Raw(number), Step::InheritJobserver);
                found.push(FdRequest { target: number, from, by });
            }
        }
    }
    found
}

/// Returns the numbers in make's flags. The last option counts, and words
/// after `--` are variables. `None` for a named pipe, which the program opens
/// itself, and for negative numbers, which withhold the jobserver from a
/// recipe.
fn named(flags: &[u8]) -> Option<(i32, i32)> {
    let strings = flags.split(|byte| byte.is_ascii_whitespace());
    let strings = strings.take_while(|word| *word != b"--");
    let values = strings.filter_map(|word| {
        OPTIONS.iter().find_map(|option| word.strip_prefix(*option))
    });
    let text = core::str::from_utf8(values.last()?).ok()?;
    let (read, write) = text.split_once(',')?;
    let number = |text: &str| text.parse().ok().filter(|n: &i32| *n >= 0);
    Some((number(read)?, number(write)?))
}

/// Whether the two are the ends of one pipe. make before 4.4 closes the pipe
/// for recipes that do not run make, but leaves the variable set, so the
/// numbers may refer to other files.
fn is_there(&(read, write): &(i32, i32)) -> bool {
    let pipe =
        |n: i32| u32::try_from(n).ok().filter(|n| *n > 2).and_then(pipe);
    match (pipe(read), pipe(write)) {
        (
            Some(Pipe { inode, reads: true, .. }),
            Some(Pipe { inode: other, writes: true, .. }),
        ) => inode == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn the_numbers_are_read_as_make_reads_them() {
        let cases: [(&str, Option<(i32, i32)>); 16] = [
            (" -j2 --jobserver-auth=3,4", Some((3, 4))),
            ("w -j2 --jobserver-fds=3,4 -k", Some((3, 4))),
            ("-j --jobserver-fds=8,9 --jobserver-auth=8,9", Some((8, 9))),
            ("--jobserver-auth=3,4 --jobserver-auth=5,6", Some((5, 6))),
            ("--jobserver-auth=3,4 --jobserver-auth=fifo:/x", None),
            ("--jobserver-auth=fifo:/x\t--jobserver-auth=3,4", Some((3, 4))),
            ("--jobserver-auth=fifo:/tmp/GMfifo7", None),
            ("--jobserver-auth=-2,-2", None),
            ("--jobserver-auth=3,4 --jobserver-auth=-2,-2", None),
            ("--jobserver-auth=-1,4", None),
            ("-- A=--jobserver-auth=3,4 --jobserver-auth=3,4", None),
            ("--jobserver-auth=3,4 -- --jobserver-auth=5,6", Some((3, 4))),
            ("--jobserver-auth=3", None),
            ("--jobserver-auth=3,99999999999", None),
            ("--jobserver-auth=,", None),
            ("", None),
        ];
        for (flags, want) in cases {
            assert_eq!(named(flags.as_bytes()), want, "{flags}");
        }
    }
}
