//! Ids: a change of ids that holds for all threads of the process.
//!
//! The kernel has ids for each thread; libc asks every thread to change
//! them, by a signal of its own, and returns when all have.
#![allow(unsafe_code, reason = "calls libc by raw arguments")]

use super::Errno;

/// Changes ids as libc does, where `nr` is a call that does; else `None`,
/// and nothing is done. The result is as the kernel gives it.
///
/// Where the process has one thread it is one system call. Threads that libc
/// does not know (a raw clone made them) keep theirs. libc ends the process
/// where one thread may make the change and another may not.
///
/// # Safety
///
/// The second argument of `setgroups` is the address of as many ids of 32
/// bits as the first says.
pub(crate) unsafe fn change(nr: i64, args: [u64; 6]) -> Option<i64> {
    let id = |n: u64| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0);
    let [a, b, c] = [id(args[0]), id(args[1]), id(args[2])];
    let result = match nr {
        libc::SYS_setgroups => {
            let at = usize::try_from(args[1]).unwrap_or_default();
            let at = core::ptr::with_exposed_provenance(at);
            // SAFETY: the caller's word: so many ids stand there.
            unsafe { libc::setgroups(a as usize, at) }
        }
        // SAFETY: takes three numbers.
        libc::SYS_setresgid => unsafe { libc::setresgid(a, b, c) },
        // SAFETY: takes three numbers.
        libc::SYS_setresuid => unsafe { libc::setresuid(a, b, c) },
        _ => return None,
    };
    if result == 0 {
        return Some(0);
    }
    // SAFETY: takes nothing; it is safe in C.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's own errno, which lives as long as
    // the thread does.
    let errno = unsafe { at.read() };
    Some(-i64::from(Errno::from_raw_os_error(errno).0))
}
