//! Claim: a word that the first of several processes of a launch sets.
#![allow(unsafe_code, reason = "the word is accessed by its address")]

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::arch::syscall;
use super::bits;

/// A bit of a claimed word: no process execs the program.
pub(crate) const CLOSED: u32 = 0x8000_0000;

/// Sets the word to `value` if it is 0, and returns whether it was.
pub(crate) fn claim(word: &AtomicU32, value: u32) -> bool {
    let (set, read) = (Ordering::SeqCst, Ordering::SeqCst);
    word.compare_exchange(0, value, set, read).is_ok()
}

/// Claims the word at an address for the calling thread, whose id is `own`,
/// with the bits of `with` ([`CLOSED`] or none). If another process has claimed
/// it, this process exits and writes nothing. Returns 0, or the errno of a
/// seccomp filter that rejects `gettid` or the exit.
///
/// # Safety
///
/// `at` is the address of four aligned bytes, to which all accesses are atomic
/// as long as another process may access them.
pub(crate) unsafe fn claim_or_exit(at: u64, own: i64, with: u32) -> i64 {
    let at = usize::try_from(at).unwrap_or_default();
    let at = ptr::with_exposed_provenance_mut::<u32>(at);
    // SAFETY: the caller guarantees the alignment and atomic accesses.
    let word = unsafe { AtomicU32::from_ptr(at) };
    match u32::try_from(own) {
        Ok(id) if claim(word, id | with) => 0,
        Ok(_) => exit(),
        Err(_) => own,
    }
}

pub(crate) fn gettid() -> i64 {
    // SAFETY: clause 1 of `syscall`: no arguments.
    unsafe { syscall(libc::SYS_gettid, [0; 6]) }
}

/// Exits as a failed row does. Returns only if a seccomp filter rejects both
/// calls.
pub(crate) fn exit() -> i64 {
    let args = [bits(127), 0, 0, 0, 0, 0];
    // SAFETY: clause 1 of `syscall`: a number.
    unsafe { syscall(libc::SYS_exit_group, args) };
    // SAFETY: clause 1 of `syscall`: a number.
    unsafe { syscall(libc::SYS_exit, args) }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::{CLOSED, claim};

    #[test]
    fn a_word_can_be_claimed_once() {
        let word = AtomicU32::new(0);
        assert!(claim(&word, 7));
        assert!(!claim(&word, CLOSED));
        assert!(!claim(&word, 7));
        assert_eq!(word.load(Ordering::SeqCst), 7);
    }
}
