//! Optional rows: those of a step that may fail. Its first row that fails
//! skips the rest, and the errno is kept for the parent.

use super::lower::Lowering;
use crate::call::{Call, Check, ROW, local, slot};
use crate::parent::std::vec::Vec;
use crate::sys::Errno;

impl Lowering<'_> {
    /// Copies the rows of a step, each with [`Check::May`]. All store their
    /// result in one slot; a row whose result a later one needs is followed by
    /// one that does so.
    pub(super) fn copy_optional(&mut self, from: u16, count: u16) {
        let result = self.result();
        let first = self.rows.len();
        self.copy(from, count);
        let copied: Vec<Call> = self.rows.drain(first..).collect();
        let follows = |row: &&Call| can_fail(row) && row.store != slot::SINK;
        let added = |rows: &[Call]| rows.iter().filter(follows).count();
        for (at, row) in copied.iter().enumerate() {
            if !can_fail(row) {
                let next = at + 1;
                let skipped = next..next + usize::from(row.skip / ROW);
                let more = copied.get(skipped).map_or(0, added);
                let more = u16::try_from(more).unwrap_or_default() * ROW;
                let skip = if row.skip == 0 { 0 } else { row.skip + more };
                self.rows.push(Call { skip, ..*row });
                continue;
            }
            let row = Call { check: Check::May, skip: 0, ..*row };
            if row.store == slot::SINK {
                self.rows.push(Call { store: result, ..row });
                continue;
            }
            self.rows.push(row);
            let kept = self.push(local::VALUE, &[row.store.into()]);
            (kept.slots, kept.check) = (0b1, Check::May);
            kept.store = result;
        }
        let end = self.rows.len();
        for (at, row) in self.rows.iter_mut().enumerate().skip(first) {
            if row.check == Check::May && row.store == result {
                let rest = u16::try_from(end - at - 1).unwrap_or_default();
                row.skip = rest * ROW;
            }
        }
    }
}

/// Whether an error of this row is an error of its step.
fn can_fail(row: &Call) -> bool {
    match row.check {
        Check::Must => true,
        // It accepts one error; the others fail.
        Check::Skip => accepted_error(row).is_some(),
        _ => false,
    }
}

/// The error that ends the step without being one, if there is such an error.
pub(crate) fn accepted_error(row: &Call) -> Option<Errno> {
    let errno = Errno::of(crate::sys::number(row.want));
    errno.filter(|_| row.nr & local::VALUE == 0)
}
