//! Claim: a word that several processes of a launch may want; the first of
//! them has it.
#![allow(unsafe_code, reason = "the word is reached by its address")]

use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use super::arch::syscall;
use super::bits;

/// In a claimed word: nobody runs the program.
pub(crate) const CLOSED: u32 = 0x8000_0000;

/// Whether the word is the caller's now: it was 0, and is `value`.
pub(crate) fn claim(word: &AtomicU32, value: u32) -> bool {
    let (won, lost) = (Ordering::SeqCst, Ordering::SeqCst);
    word.compare_exchange(0, value, won, lost).is_ok()
}

/// Claims the word at an address for the calling thread, whose id is `own`,
/// with or without [`CLOSED`]. If it is another's, this process ends and
/// leaves no trace. 0, or the errno of a filter that refuses the id or the
/// end.
///
/// # Safety
///
/// `at` is the address of four aligned bytes, which are only reached as an
/// atomic as long as another process may.
pub(crate) unsafe fn claim_or_end(at: u64, own: i64, with: u32) -> i64 {
    let at = usize::try_from(at).unwrap_or_default();
    let at = ptr::with_exposed_provenance_mut::<u32>(at);
    // SAFETY: the caller's word.
    let word = unsafe { AtomicU32::from_ptr(at) };
    match u32::try_from(own) {
        Ok(id) if claim(word, id | with) => 0,
        Ok(_) => end(),
        Err(_) => own,
    }
}

pub(crate) fn gettid() -> i64 {
    // SAFETY: clause 1 of `syscall`: no arguments.
    unsafe { syscall(libc::SYS_gettid, [0; 6]) }
}

/// Ends this process as a row that fails does. Returns only where a filter
/// refuses that.
pub(crate) fn end() -> i64 {
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
    fn a_word_is_claimed_once() {
        let word = AtomicU32::new(0);
        assert!(claim(&word, 7));
        assert!(!claim(&word, CLOSED));
        assert!(!claim(&word, 7));
        assert_eq!(word.load(Ordering::SeqCst), 7);
    }
}
