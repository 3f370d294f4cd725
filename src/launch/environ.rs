//! `Environ`: the environment of one launch, if its rows have none: one whose
//! `LISTEN_PID` is the child's process id, or one that is shared.

use core::cell::Cell;

use crate::call::{Block, LISTEN_PID, Table, slot};

/// One exists only if its list has an end and holds addresses of its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environ<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    /// The plan's, except that its first variable is in the block.
    Own(&'a [Cell<u64>]),
    /// The list of an environment outside the plan.
    Shared(&'a [u64]),
}

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
        Some(Environ(Source::Own(buffer)))
    }

    /// An environment that many plans share, if `list` holds addresses of
    /// `text` and ends in 0, and `text` ends in NUL. It takes about 1 ns an
    /// entry.
    pub(crate) fn shared(
        text: &'a [u8],
        list: &'a [u64],
    ) -> Option<Environ<'a>> {
        let (base, len) = (text.as_ptr().addr() as u64, text.len() as u64);
        let (end, all) = list.split_last()?;
        let inside = |at: &u64| at.wrapping_sub(base) < len;
        let ends = *end == 0 && matches!(text.last(), None | Some(0));
        (ends && all.iter().all(inside))
            .then_some(Environ(Source::Shared(list)))
    }

    /// Stores its address in the block at `base`; of the plan's own it makes
    /// the variable in the block the first one.
    pub(super) fn fill_slots(self, block: &mut Block, base: *mut Block) {
        let at = match self.0 {
            Source::Own(list) => {
                fill_listen_pid_name(block);
                if let Some(first) = list.first() {
                    let digits =
                        Block::slot_address(base, slot::LISTEN_PID_DIGITS);
                    first.set(digits - LISTEN_PID.len() as u64);
                }
                list.as_ptr().expose_provenance()
            }
            Source::Shared(list) => list.as_ptr().expose_provenance(),
        };
        block.set(slot::ENVIRON, at as u64);
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

#[cfg(test)]
mod tests {
    use super::Environ;

    #[test]
    fn a_shared_list_has_an_end_and_points_to_nothing_but_its_text() {
        let text = b"A=1\0B=2\0";
        let at = text.as_ptr().addr() as u64;
        let is = |list: &[u64]| Environ::shared(text, list).is_some();
        assert!(is(&[at, at + 4, 0]) && is(&[0]));
        assert!(!is(&[]) && !is(&[at]) && !is(&[at, 0, at, 0]));
        assert!(!is(&[at + 8, 0]) && !is(&[at - 1, 0]));
        let open = text.get(..7).unwrap_or_default();
        assert!(
            Environ::shared(open, &[at, 0]).is_none(),
            "no NUL at the end"
        );
        assert!(Environ::shared(b"", &[0]).is_some());
    }
}
