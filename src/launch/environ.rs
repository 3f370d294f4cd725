//! `Environ`: the environment of one launch, whose `LISTEN_PID` is the
//! child's process id.

use core::cell::Cell;

use crate::call::{Block, LISTEN_PID, Table, slot};

/// The plan's environment, except that its first variable is in the block.
/// One exists only if the list has an end and holds addresses of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environ<'a>(&'a [Cell<u64>]);

impl<'a> Environ<'a> {
    /// Copies the list that begins at byte `from` of the table's lists, with
    /// its final 0, into `buffer`; `None` if it does not fit.
    pub(crate) fn new(
        table: &Table<'a>,
        from: u64,
        buffer: &'a [Cell<u64>],
    ) -> Option<Environ<'a>> {
        let from = usize::try_from(from / 8).ok()?;
        let list = table.lists().get(from..)?;
        let end = list.iter().position(|at| *at == 0)?;
        let list = list.get(..=end)?;
        if list.len() < 2 || buffer.len() < list.len() {
            return None;
        }
        for (to, at) in buffer.iter().zip(list) {
            to.set(*at);
        }
        Some(Environ(buffer))
    }

    /// Makes the variable in the block at `base` the first one.
    pub(super) fn fill_slots(self, block: &mut Block, base: *mut Block) {
        fill_listen_pid_name(block);
        if let Some(first) = self.0.first() {
            let digits = Block::slot_address(base, slot::LISTEN_PID_DIGITS);
            first.set(digits - LISTEN_PID.len() as u64);
        }
        let at = self.0.as_ptr().expose_provenance() as u64;
        block.set(slot::ENVIRON, at);
    }
}

/// Puts the variable's name right before the digits that a row will store.
pub(super) fn fill_listen_pid_name(block: &mut Block) {
    let mut name = [0; 16];
    let start = name.len() - LISTEN_PID.len();
    for (to, from) in name.iter_mut().skip(start).zip(LISTEN_PID) {
        *to = from;
    }
    let name = u128::from_le_bytes(name);
    let low = u128::from(u64::MAX);
    let half = |n: u128| u64::try_from(n & low).unwrap_or_default();
    block.set(slot::LISTEN_PID_NAME, half(name));
    block.set(slot::LISTEN_PID_NAME + 1, half(name >> 64));
}
