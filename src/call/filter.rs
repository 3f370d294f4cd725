//! Filter: a `sock_fprog` in the lists of a plan, which points to the
//! instructions of a seccomp filter.

use super::Call;

/// `BPF_MAXINSNS`: no filter has more instructions. An entry of the lists up
/// to this is a number; no string of a plan has such a low address.
pub(crate) const MOST: u64 = 4096;

/// The size of an instruction (`struct sock_filter`).
pub(crate) const INSTRUCTION: u64 = 8;

/// The flags that a row may pass. `SECCOMP_FILTER_FLAG_TSYNC` would change
/// other threads.
const FLAGS: u64 = libc::SECCOMP_FILTER_FLAG_LOG
    | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW
    | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;

/// Whether the lists have a `sock_fprog` at this index, all of whose
/// instructions are in the text.
pub(super) fn is_valid(
    row: &Call,
    index: u64,
    lists: &[u64],
    text: (u64, u64),
) -> bool {
    let at = usize::try_from(index).unwrap_or(usize::MAX);
    let words = lists.get(at..).and_then(<[u64]>::first_chunk);
    let Some([len, code]) = words else { return false };
    let flags = row.args.get(1).is_some_and(|flags| flags & !FLAGS == 0);
    let start = code.wrapping_sub(text.0);
    let room = text.1.checked_sub(start);
    flags
        && row.slots & 0b10 == 0
        && (1..=MOST).contains(len)
        && room.is_some_and(|room| len * INSTRUCTION <= room)
}

#[cfg(test)]
mod tests {
    use crate::call::{Call, Table, number};

    const NR: u32 = number(libc::SYS_seccomp);

    /// Whether a table with this row, text and these lists is valid.
    fn is_valid(row: Call, text: &[u8], lists: &[u64]) -> bool {
        let exit = Call::new(number(libc::SYS_exit_group), [0; 6]);
        let rows = [Call { row: 1, ..row }, Call { row: 2, ..exit }];
        Table::new(&rows, text, lists, &[]).is_ok()
    }

    fn address<T>(all: &[T]) -> u64 {
        all.as_ptr().addr() as u64
    }

    #[test]
    fn a_program_is_in_the_text_as_a_whole() {
        let text = [0u8; 17];
        let at = address(&text);
        for (len, code, valid) in [
            (2, at, true),
            (2, at + 1, true),
            (2, at + 2, false),
            (1, at + 9, true),
            (1, at + 10, false),
            (3, at, false),
            (0, at, false),
            (1, at - 1, false),
            (1, at + 17, false),
            (1, 0, false),
            (4097, at, false),
        ] {
            let lists = [len, code, 0];
            let row = Call::new(NR, [1, 0, address(&lists), 0, 0, 0]);
            let row = Call { lists: 0b100, ..row };
            let found = is_valid(row, &text, &lists);
            assert_eq!(found, valid, "{len} {}", code.wrapping_sub(at));
        }
    }

    #[test]
    fn a_row_points_to_the_length_of_a_program() {
        let text = [0u8; 65];
        let lists = [address(&text), 8, address(&text), 0];
        for (index, valid) in [(0, false), (1, true), (2, false), (3, false)] {
            let at = address(&lists) + 8 * index;
            let row = Call::new(NR, [1, 0, at, 0, 0, 0]);
            let row = Call { lists: 0b100, ..row };
            assert_eq!(is_valid(row, &text, &lists), valid, "{index}");
        }
        let at = address(&lists) + 8;
        let bare = Call::new(NR, [1, 0, at, 0, 0, 0]);
        assert!(!is_valid(bare, &text, &lists), "not marked as a list");
        let text_at = Call { args: [1, 0, address(&text), 0, 0, 0], ..bare };
        let text_at = Call { texts: 0b100, ..text_at };
        assert!(!is_valid(text_at, &text, &lists), "in the text");
    }

    #[test]
    fn only_a_filter_of_the_child_alone_is_installed() {
        let text = [0u8; 9];
        let lists = [1, address(&text), 0];
        let at = address(&lists);
        for (mode, flags, slots, valid) in [
            (1, 0, 0, true),
            (1, 2, 0, true),
            (1, 4, 0, true),
            (1, 8, 0, true),
            (1, 1, 0, false),
            (1, 16, 0, false),
            (1, 0, 0b10, false),
            (0, 0, 0, false),
            (2, 0, 0, false),
        ] {
            let row = Call::new(NR, [mode, flags, at, 0, 0, 0]);
            let row = Call { lists: 0b100, slots, ..row };
            let found = is_valid(row, &text, &lists);
            assert_eq!(found, valid, "{mode} {flags} {slots}");
        }
    }
}
