//! Interpreter: which one a program names, whether it exists, and whether its
//! mode lets a user execute it. Used after a failure.
//!
//! Another user may have replaced the files meanwhile: only regular files are
//! opened, and none outside the child's root.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::fs::{fstatvfs, openat, openat2};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use crate::parent::sealed_memfd::readable;
use crate::parent::std::{
    ffi::OsStr,
    fs::File,
    os::unix::ffi::OsStrExt,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    vec,
    vec::Vec,
};

/// How many interpreters of interpreters the kernel follows.
const DEPTH: usize = 6;

/// From where a child looked up paths.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its root directory, if that was not the parent's.
    pub(super) root: Option<PathBuf>,
    /// Its working directory below that root; empty, if it was the parent's.
    pub(super) dir: PathBuf,
}

impl View {
    /// Opens what the child found at a path, with `O_PATH`. Below a root of
    /// the child's own that takes openat2 (Linux 5.6), which resolves links
    /// as they were for the child.
    pub(super) fn file(&self, path: &Path) -> Result<File, Errno> {
        let path = self.dir.join(path);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let none = Mode::empty();
        let Some(root) = &self.root else {
            return openat(CWD, &path, flags, none).map(File::from);
        };
        let root = openat(CWD, root, flags | OFlags::DIRECTORY, none)?;
        let inside = ResolveFlags::IN_ROOT;
        openat2(root, &path, flags, none, inside).map(File::from)
    }
}

/// Returns the interpreter of a program that does not exist, and the errno:
/// exec fails with ENOENT for it, as for a program that does not exist. `None`
/// if none is missing, or if that cannot be found out.
pub(super) fn missing_interpreter(
    program: File,
    view: &View,
) -> Option<(PathBuf, i32)> {
    let mut file = program;
    for _ in 0..DEPTH {
        let found = interpreter(&file)?;
        match view.file(&found) {
            Ok(next) => file = next,
            Err(e @ (Errno::NOENT | Errno::NOTDIR)) => {
                return Some((found, e.raw_os_error()));
            }
            Err(_) => return None,
        }
    }
    None
}

/// A user with its groups.
#[derive(Debug)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

impl User {
    /// This process's own ids.
    pub(super) fn own() -> User {
        let groups = getgroups().unwrap_or_default();
        User {
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            groups: groups.into_iter().map(|gid| gid.as_raw()).collect(),
        }
    }

    /// Whether this user may execute a file. Does not read access control
    /// lists.
    fn may_execute(&self, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else { return true };
        let noexec = fstatvfs(file)
            .is_ok_and(|at| at.f_flag.contains(StatVfsMountFlags::NOEXEC));
        let group = metadata.gid();
        let bits = match () {
            () if self.uid == 0 => 0o111,
            () if self.uid == metadata.uid() => 0o100,
            () if self.gid == group || self.groups.contains(&group) => 0o010,
            () => 0o001,
        };
        metadata.is_file() && !noexec && metadata.mode() & bits != 0
    }
}

/// Returns the interpreter that the user may not execute, of a program that it
/// may: exec fails with EACCES in both cases.
pub(super) fn denied_interpreter(
    program: File,
    view: &View,
    user: &User,
) -> Option<PathBuf> {
    let mut file = program;
    for _ in 0..DEPTH {
        if !user.may_execute(&file) {
            return None;
        }
        let found = interpreter(&file)?;
        match view.file(&found) {
            Ok(next) if user.may_execute(&next) => file = next,
            Ok(_) | Err(Errno::ACCESS) => return Some(found),
            Err(_) => return None,
        }
    }
    None
}

/// The interpreter that a file names.
fn interpreter(file: &File) -> Option<PathBuf> {
    let file = readable(file)?;
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

/// The path in the `PT_INTERP` of an ELF file of 32 or 64 bits.
fn loader(file: &File, head: &[u8]) -> Option<PathBuf> {
    const INTERP: u64 = 3;
    let word = if *head.get(4)? == 1 { 4 } else { 8 };
    // Where the ELF header has the offset of the program headers, their size
    // and number; where a program header has its segment's offset and length;
    // and the length of a program header.
    let [table, size, offset, len, row] = match word {
        4 => [28, 42, 4, 16, 32],
        _ => [32, 54, 8, 32, 56],
    };
    let at = number(head, table, word)?;
    let count = number(head, size + 2, 2)?;
    let size = number(head, size, 2)?;
    for n in 0..count {
        let mut bytes = [0u8; 56];
        let row = bytes.get_mut(..row)?;
        file.read_exact_at(row, at.checked_add(n * size)?).ok()?;
        if number(row, 0, 4)? == INTERP {
            let len = usize::try_from(number(row, len, word)?).ok()?;
            // PATH_MAX, the kernel's limit.
            let mut name = vec![0; Some(len).filter(|len| *len <= 4096)?];
            file.read_exact_at(&mut name, number(row, offset, word)?).ok()?;
            let end = memchr::memchr(0, &name).unwrap_or(len);
            let name = OsStr::from_bytes(name.get(..end)?);
            return Some(PathBuf::from(name));
        }
    }
    None
}

/// A little-endian number of `len` bytes.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.get(..len)?;
    Some(bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::{loader, shebang};
    use crate::parent::std::{self, fs::File};

    #[test]
    fn the_first_word_after_the_marks_is_the_interpreter() {
        assert_eq!(shebang(b"/bin/sh\nx"), Some(&b"/bin/sh"[..]));
        assert_eq!(shebang(b" \t/bin/sh -e\n"), Some(&b"/bin/sh"[..]));
        assert_eq!(shebang(b"/usr/bin/env\tsh"), Some(&b"/usr/bin/env"[..]));
        assert_eq!(shebang(b"  \n"), None);
    }

    #[test]
    fn a_loader_is_found_in_files_of_32_and_64_bits() {
        use crate::parent::std::io::Write;
        for (class, table, size, at, len) in
            [(1, 28, 42, 4, 16), (2, 32, 54, 8, 32)]
        {
            let mut bytes = [0u8; 200];
            bytes[..5].copy_from_slice(&[0x7F, b'E', b'L', b'F', class]);
            bytes[table] = 64;
            bytes[size] = 56;
            bytes[size + 2] = 1;
            bytes[64] = 3;
            bytes[64 + at] = 150;
            bytes[64 + len] = 8;
            bytes[150..157].copy_from_slice(b"/no/one");
            let name = std::format!("offshoot-loader-{class}");
            let path = std::env::temp_dir().join(name);
            File::create(&path).unwrap().write_all(&bytes).unwrap();
            let file = File::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            let found = loader(&file, &bytes);
            assert_eq!(found.unwrap().to_str(), Some("/no/one"), "{class}");
        }
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
