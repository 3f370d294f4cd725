//! Fallback for `close_range`: closes the descriptors that
//! `/proc/thread-self/fd` lists, or sets their close-on-exec flag.
//!
//! It runs in the child, on the stack below the caller's frame. Absent: libc,
//! allocation, panics. RLIMIT_NOFILE is no upper bound of open descriptors: it
//! may have been lowered since they were opened.
#![allow(unsafe_code, reason = "raw system calls on a buffer of its own")]

use crate::call::Callback;
use crate::sys::arch::syscall;
use crate::sys::{bits, safe};

/// Closes the descriptors from the first number to the second, inclusive.
pub(crate) const CLOSE: Callback = Callback { run: close, data: 0 };

/// Sets their close-on-exec flag.
pub(crate) const SET_CLOEXEC: Callback =
    Callback { run: set_cloexec, data: 0 };

extern "C" fn close(_: u64, from: u64, to: u64) -> i64 {
    for_each(from, to, |fd| {
        // An error does not leave it open: it is a delayed write error.
        let _ = safe::close(fd);
    })
}

extern "C" fn set_cloexec(_: u64, from: u64, to: u64) -> i64 {
    for_each(from, to, |fd| {
        let _ = safe::set_cloexec(fd);
    })
}

/// The offsets of `d_name` and `d_reclen` in `struct linux_dirent64`.
const NAME: usize = 19;
const LENGTH: usize = 16;

/// Calls `act` for each listed descriptor in the range. The kernel lists by
/// number, so closing one does not make it skip the next.
fn for_each(from: u64, to: u64, mut act: impl FnMut(i32)) -> i64 {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // exec in place may be in a thread whose descriptor table is not the
    // process's. From Linux 3.17 on there is a list for the thread.
    let own = safe::open(c"/proc/thread-self/fd", flags, 0);
    let list = match own.or_else(|_| safe::open(c"/proc/self/fd", flags, 0)) {
        Ok(list) => list,
        Err(errno) => return -i64::from(errno.0),
    };
    loop {
        let mut buffer = [0u8; 1024];
        let read = getdents(list, &mut buffer);
        if read <= 0 {
            let _ = safe::close(list);
            return read;
        }
        let mut rest = buffer.get(..usize::try_from(read).unwrap_or(0));
        while let Some(entry) = rest.filter(|bytes| bytes.len() > NAME) {
            let len = entry.get(LENGTH..LENGTH + 2);
            let len = len.and_then(|two| two.first_chunk().copied());
            let len = usize::from(len.map_or(0, u16::from_le_bytes));
            if let Some(fd) = entry.get(NAME..).and_then(number) {
                let inside = (from..=to).contains(&u64::from(fd));
                let fd = i32::try_from(fd).unwrap_or(-1);
                if inside && fd != list {
                    act(fd);
                }
            }
            rest = if len == 0 { None } else { entry.get(len..) };
        }
    }
}

/// Parses a name as a number, which `.` and `..` are not.
fn number(name: &[u8]) -> Option<u32> {
    let mut all = name.iter().take_while(|byte| **byte != 0).peekable();
    all.peek()?;
    let mut n = 0u32;
    for byte in all {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        n = n.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(n)
}

fn getdents(list: i32, buffer: &mut [u8; 1024]) -> i64 {
    let at = buffer.as_mut_ptr().expose_provenance() as u64;
    let args = [bits(list.into()), at, buffer.len() as u64, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call writes at most as many bytes as
    // the buffer has.
    unsafe { syscall(libc::SYS_getdents64, args) }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn only_numbers_are_descriptors() {
        assert_eq!(number(b"0\0"), Some(0));
        assert_eq!(number(b"4711\0junk"), Some(4711));
        for name in [&b".\0"[..], b"..\0", b"\0", b"1x\0", b"99999999999\0"] {
            assert_eq!(number(name), None, "{name:?}");
        }
    }
}
