//! Changing the ids of all threads of the process.
//!
//! The kernel has ids for each thread. libc sends every thread a signal of its
//! own, whose handler changes them, and returns when all have.
#![allow(unsafe_code, reason = "calls libc with raw arguments")]

use super::Errno;

/// Makes the call through libc if `nr` changes ids; otherwise returns `None`
/// and does nothing. The result is in the kernel's form.
///
/// With one thread it is one system call. Threads that libc does not know, made
/// by a raw clone, keep their ids. libc aborts the process if the change
/// succeeds in one thread and fails in another.
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
            // SAFETY: the caller guarantees that so many ids are there.
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
    // SAFETY: the function takes no arguments and has no preconditions.
    let at = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's errno, which is valid as long as
    // the thread exists.
    let errno = unsafe { at.read() };
    Some(-i64::from(Errno::from_raw_os_error(errno).0))
}
