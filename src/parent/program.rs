//! Program: why a file that is there was not found. Asked after a failure.

use super::std::{
    ffi::OsStr,
    fs::{self, File},
    io::ErrorKind,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

/// How many interpreters of interpreters the kernel follows.
const DEPTH: usize = 5;

/// The interpreter that a program needs and that does not exist: exec gives
/// ENOENT for it, as it does for a program that is not there. `None` if the
/// program itself is missing, or nothing is. `path` is where the program is
/// for us; `seen` says so of any path of the child's, which looks up relative
/// ones from its directory.
pub(crate) fn missing_interpreter(
    path: PathBuf,
    seen: impl Fn(&Path) -> PathBuf,
) -> Option<PathBuf> {
    let mut path = path;
    for _ in 0..DEPTH {
        let found = interpreter(&path)?;
        path = seen(&found);
        let absent = fs::metadata(&path).is_err_and(|e| {
            matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        });
        if absent {
            return Some(found);
        }
    }
    None
}

/// What a file says about who interprets it.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let file = File::open(path).ok()?;
    let mut head = [0u8; 256];
    let len = file.read_at(&mut head, 0).ok()?;
    let head = head.get(..len)?;
    let name = match head {
        [b'#', b'!', line @ ..] => shebang(line),
        [0x7F, b'E', b'L', b'F', ..] => return loader(&file, head),
        _ => None,
    }?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// The first word after `#!`.
fn shebang(line: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    let line = line.get(..end)?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = line.get(line.iter().position(|byte| !blank(byte))?..)?;
    let end = line.iter().position(blank).unwrap_or(line.len());
    line.get(..end)
}

/// The path in the `PT_INTERP` of a 64-bit ELF file.
fn loader(file: &File, head: &[u8]) -> Option<PathBuf> {
    const INTERP: u32 = 3;
    let (at, size) = (long(head, 32)?, half(head, 54)?);
    let count = half(head, 56)?;
    for n in 0..u64::from(count) {
        let mut row = [0u8; 56];
        let place = at.checked_add(n.checked_mul(u64::from(size))?)?;
        file.read_exact_at(&mut row, place).ok()?;
        let kind = u32::from_le_bytes(*row.first_chunk()?);
        if kind == INTERP {
            let len = usize::try_from(long(&row, 32)?).ok()?;
            let mut name = [0u8; 4096];
            let name = name.get_mut(..len)?;
            file.read_exact_at(name, long(&row, 8)?).ok()?;
            let end = memchr::memchr(0, name).unwrap_or(len);
            let name = OsStr::from_bytes(name.get(..end)?);
            return Some(PathBuf::from(name));
        }
    }
    None
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::{loader, shebang};
    use crate::parent::std::fs::File;

    #[test]
    fn the_first_word_after_the_marks_is_the_interpreter() {
        assert_eq!(shebang(b"/bin/sh\nx"), Some(&b"/bin/sh"[..]));
        assert_eq!(shebang(b" \t/bin/sh -e\n"), Some(&b"/bin/sh"[..]));
        assert_eq!(shebang(b"/usr/bin/env\tsh"), Some(&b"/usr/bin/env"[..]));
        assert_eq!(shebang(b"  \n"), None);
    }

    #[test]
    fn a_damaged_elf_header_names_no_loader() {
        let file = File::open("/proc/self/exe").unwrap();
        let mut head = [0xFFu8; 64];
        assert_eq!(loader(&file, &head), None);
        assert_eq!(loader(&file, &head[..40]), None);
        head.fill(0);
        assert_eq!(loader(&file, &head), None);
    }
}
