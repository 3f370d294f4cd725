//! SIGPIPE: blocked in a thread while it writes to a pipe that nobody may read.
//!
//! The kernel sends it to the writing thread. Programs of Rust ignore it, but
//! not every caller is one (a library in a C program, `#[unix_sigpipe]`).

use crate::sys::call::{
    block_sigpipe, consume_sigpipe, set_signal_mask, sigpipe_is_pending,
};

/// SIGPIPE is blocked in this thread until it is dropped.
pub(super) struct SigpipeBlock {
    mask: u64,
    was_pending: bool,
    /// A write has failed with EPIPE, so that the signal was sent.
    sent: bool,
}

impl SigpipeBlock {
    pub(super) fn new() -> SigpipeBlock {
        let mask = block_sigpipe();
        let was_pending = sigpipe_is_pending();
        SigpipeBlock { mask, was_pending, sent: false }
    }

    pub(super) fn sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for SigpipeBlock {
    fn drop(&mut self) {
        // One that was pending before is not ours. If the signal is ignored
        // there is none.
        if self.sent && !self.was_pending {
            consume_sigpipe();
        }
        set_signal_mask(self.mask);
    }
}
