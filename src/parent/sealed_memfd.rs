//! Sealed memfds: files in memory with a program, which cannot be written.

use core::time::Duration;

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create,
};
use rustix::io::Errno;

use super::std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
    thread,
};
use crate::sys::abi::Limit;
use crate::sys::call::limit;

const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// `/proc/PID/exe` shows it as `/memfd:offshoot`.
const NAME: &str = "offshoot";

/// This process's own program, even if another file has its path by now.
const OWN: &str = "/proc/self/exe";

/// Makes a sealed memfd of these bytes.
pub(crate) fn memfd_of_bytes(bytes: &[u8]) -> io::Result<OwnedFd> {
    check_known_file_size(bytes.len() as u64)?;
    sealed_memfd(|file| file.write_all(bytes))
}

/// Makes a sealed memfd of this process's own program, or opens that, if it is
/// sealed already.
pub(crate) fn memfd_of_self_exe() -> io::Result<OwnedFd> {
    let mut own = File::open(OWN)?;
    if is_sealed(own.as_fd()) {
        return Ok(own.into());
    }
    check_known_file_size(own.metadata()?.len())?;
    sealed_memfd(|file| io::copy(&mut own, file).map(drop))
}

/// Checks RLIMIT_FSIZE: EFBIG, where a write would raise SIGXFSZ. Any other
/// errno is that of prlimit.
pub(crate) fn check_file_size(len: u64) -> Result<(), Errno> {
    match limit(Limit::FileSize) {
        Ok(limit) if limit < len => Err(Errno::FBIG),
        Ok(_) => Ok(()),
        Err(e) => Err(Errno::from_raw_os_error(e.0)),
    }
}

/// As `check_file_size`; passes if a filter rejects prlimit.
fn check_known_file_size(len: u64) -> Result<(), Errno> {
    match check_file_size(len) {
        Err(Errno::FBIG) => Err(Errno::FBIG),
        _ => Ok(()),
    }
}

/// Makes a sealed memfd. The caller has checked RLIMIT_FSIZE.
pub(crate) fn sealed_memfd(
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd(MemfdFlags::EXEC)?);
    fill(&mut file)?;
    seal(&file)?;
    Ok(file.into())
}

/// How often sealing is tried while a page of the file is in use.
const SEAL_TRIES: u32 = 10;
const SEAL_PAUSE: Duration = Duration::from_millis(20);

/// EBUSY: a page is in use, for example by the kernel's memory compaction. The
/// kernel itself waits 150 ms for that.
fn seal(file: &File) -> Result<(), Errno> {
    for n in 1.. {
        match fcntl_add_seals(file, SEALS) {
            Err(Errno::BUSY) if n < SEAL_TRIES => thread::sleep(SEAL_PAUSE),
            done => return done,
        }
    }
    Err(Errno::BUSY)
}

/// Makes a memfd with `MFD_EXEC` or `MFD_NOEXEC_SEAL`. Before Linux 6.3 both
/// are EINVAL, and every memfd is executable. EACCES: `vm.memfd_noexec` is 2.
pub(crate) fn memfd(exec: MemfdFlags) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(NAME, flags | exec) {
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        other => other,
    }
}

fn is_sealed(file: BorrowedFd<'_>) -> bool {
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

/// Returns whether this process runs from a sealed memfd, as after
/// [`Command::self_exe`] and [`Command::exec`], so that no process can write
/// to its program through `/proc/PID/exe`.
///
/// # Errors
///
/// Those of opening `/proc/self/exe`: ENOENT without `/proc`.
///
/// # Examples
///
/// ```
/// // A test runs from a file.
/// assert!(!offshoot::self_exe_is_sealed()?);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [`Command::self_exe`]: crate::Command::self_exe
/// [`Command::exec`]: crate::Command::exec
pub fn self_exe_is_sealed() -> io::Result<bool> {
    Ok(is_sealed(File::open(OWN)?.as_fd()))
}

/// Whether a file is readable and begins with `#!`.
pub(crate) fn is_script(fd: BorrowedFd<'_>) -> bool {
    let mut head = [0; 2];
    let file = fd.try_clone_to_owned().map(File::from).ok();
    let file = file.and_then(|file| readable(&file));
    let read = file.and_then(|file| file.read_at(&mut head, 0).ok());
    read == Some(2) && begins_a_script(&head)
}

/// Returns a regular file open for reading: opened again through `/proc`, if it
/// was opened without (`O_PATH`). Opening a FIFO could block, opening a device
/// could have effects.
pub(crate) fn readable(file: &File) -> Option<File> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    if file.read_at(&mut [0], 0).is_ok() {
        return file.try_clone().ok();
    }
    let number = file.as_raw_fd();
    let path = super::std::format!("/proc/thread-self/fd/{number}");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(PathBuf::from(path)).ok()
}

pub(crate) fn begins_a_script(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!")
}
