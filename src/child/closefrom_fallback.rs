//! Closer: closes open descriptors by their list, where there is no
//! `close_range`. Runs in the child, on the stack it was given.
//!
//! Absent: libc, allocation, panics. What is listed is `/proc/thread-self/fd`; the
//! limit on open files is no bound, as it may have been lowered since.
#![allow(unsafe_code, reason = "raw system calls on a buffer of its own")]

use crate::call::Callback;
use crate::sys::arch::syscall;
use crate::sys::{bits, safe};

/// Closes the descriptors from the first number to the second.
pub(crate) const CLOSE: Callback = Callback { run: close, data: 0 };

/// Marks them close-on-exec.
pub(crate) const MARK: Callback = Callback { run: mark, data: 0 };

extern "C" fn close(_: u64, from: u64, to: u64) -> i64 {
    each(from, to, |fd| {
        // A file system's late error does not keep it open.
        let _ = safe::close(fd);
    })
}

extern "C" fn mark(_: u64, from: u64, to: u64) -> i64 {
    each(from, to, |fd| {
        let _ = safe::set_cloexec(fd);
    })
}

/// Where names begin in `struct linux_dirent64`, and its length.
const NAME: usize = 19;
const LENGTH: usize = 16;

/// Walks the list to its end. The kernel goes by number, so closing one
/// does not make it miss the next.
fn each(from: u64, to: u64, mut act: impl FnMut(i32)) -> i64 {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // In place it may be a thread with a table of its own (Linux 3.17).
    let own = safe::open(c"/proc/thread-self/fd", flags, 0);
    let list = match own.or_else(|_| safe::open(c"/proc/self/fd", flags, 0)) {
        Ok(list) => list,
        Err(errno) => return -i64::from(errno.0),
    };
    loop {
        let mut buffer = [0u8; 1024];
        let read = callbacks(list, &mut buffer);
        if read <= 0 {
            let _ = safe::close(list);
            return read;
        }
        let mut rest = buffer.get(..usize::try_from(read).unwrap_or(0));
        while let Some(callback) = rest.filter(|bytes| bytes.len() > NAME) {
            let len = callback.get(LENGTH..LENGTH + 2);
            let len = len.and_then(|two| two.first_chunk().copied());
            let len = usize::from(len.map_or(0, u16::from_le_bytes));
            if let Some(fd) = callback.get(NAME..).and_then(number) {
                let inside = (from..=to).contains(&u64::from(fd));
                let fd = i32::try_from(fd).unwrap_or(-1);
                if inside && fd != list {
                    act(fd);
                }
            }
            rest = if len == 0 { None } else { callback.get(len..) };
        }
    }
}

/// The number that a name is; `.` and `..` are none.
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

fn callbacks(list: i32, buffer: &mut [u8; 1024]) -> i64 {
    let at = buffer.as_mut_ptr().expose_provenance() as u64;
    let args = [bits(list.into()), at, buffer.len() as u64, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: the call writes as many bytes as the
    // buffer has.
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
