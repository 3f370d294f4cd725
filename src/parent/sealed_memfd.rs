//! Image: programs in sealed memory files, which nobody can write to.

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

/// What makes a memory file the same for ever.
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// The memory file's name, as `/proc/PID/exe` shows it: `/memfd:offshoot`.
const NAME: &str = "offshoot";

/// This process's own program, whatever is at its path by now.
const OWN: &str = "/proc/self/exe";

/// A sealed memory file of these bytes.
pub(crate) fn memfd_of_bytes(bytes: &[u8]) -> io::Result<OwnedFd> {
    fits(bytes.len() as u64)?;
    sealed_memfd(|file| file.write_all(bytes))
}

/// A sealed memory file of this process's own program: a copy, or the file
/// itself where that is sealed already.
pub(crate) fn memfd_of_self_exe() -> io::Result<OwnedFd> {
    let mut own = File::open(OWN)?;
    if is_sealed(own.as_fd()) {
        return Ok(own.into());
    }
    fits(own.metadata()?.len())?;
    sealed_memfd(|file| io::copy(&mut own, file).map(drop))
}

/// Whether RLIMIT_FSIZE leaves room for so many bytes: EFBIG, where the
/// kernel would end this process by SIGXFSZ. Any other errno is that of
/// asking.
pub(crate) fn check_file_size(len: u64) -> Result<(), Errno> {
    match limit(Limit::FileSize) {
        Ok(limit) if limit < len => Err(Errno::FBIG),
        Ok(_) => Ok(()),
        Err(e) => Err(Errno::from_raw_os_error(e.0)),
    }
}

/// As `room`, and there is some where nobody may ask.
fn fits(len: u64) -> Result<(), Errno> {
    match check_file_size(len) {
        Err(Errno::FBIG) => Err(Errno::FBIG),
        _ => Ok(()),
    }
}

/// A sealed memory file; whoever fills it has asked whether there is room.
pub(crate) fn sealed_memfd(
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd(MemfdFlags::EXEC)?);
    fill(&mut file)?;
    seal(&file)?;
    Ok(file.into())
}

/// How often sealing is tried while the kernel uses a page of the file.
const SEALINGS: u32 = 10;
const SEAL_PAUSE: Duration = Duration::from_millis(20);

/// EBUSY: somebody else uses a page, which may be the kernel, as it frees
/// memory or moves it together. It waits 150 ms for that by itself.
fn seal(file: &File) -> Result<(), Errno> {
    for n in 1.. {
        match fcntl_add_seals(file, SEALS) {
            Err(Errno::BUSY) if n < SEALINGS => thread::sleep(SEAL_PAUSE),
            done => return done,
        }
    }
    Err(Errno::BUSY)
}

/// A memory file with `MFD_EXEC` or `MFD_NOEXEC_SEAL`. Kernels before 6.3
/// have neither and answer EINVAL; there every such file may be executed.
/// EACCES: `vm.memfd_noexec` is 2.
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

/// Whether this process runs from a sealed memory file, as after
/// [`Command::self_exe`] and [`Command::exec`]: then nobody can write to its
/// program through `/proc/PID/exe`.
///
/// # Errors
///
/// What opening `/proc/self/exe` gives: ENOENT without `/proc`.
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

/// Whether a file begins with `#!`, if it can be read.
pub(crate) fn is_script(fd: BorrowedFd<'_>) -> bool {
    let mut head = [0; 2];
    let file = fd.try_clone_to_owned().map(File::from).ok();
    let file = file.and_then(|file| readable(&file));
    let read = file.and_then(|file| file.read_at(&mut head, 0).ok());
    read == Some(2) && begins_a_script(&head)
}

/// A regular file, to be read: opened anew through `/proc` where it was
/// opened without reading (`O_PATH`). Opening anything else could wait for
/// ever (a FIFO) or do something (a device).
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
