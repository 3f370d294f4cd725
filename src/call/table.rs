//! `Table`: rows that were verified. Holding one is the proof.

use core::fmt;

use super::{Call, Check, ROW, local, number, slot};
use crate::sys::abi::SIGACTION_SIZE;

/// How a call may use its arguments. `addresses` are those that the kernel
/// reads or writes through: they must lie in the plan or in the block.
/// A string ends at its NUL, which the text is sure to have; `reach` is how
/// many bytes a structure in the text takes.
struct Rule {
    nr: u32,
    addresses: u8,
    reach: u64,
}

const fn rule(nr: libc::c_long, addresses: u8) -> Rule {
    Rule { nr: number(nr), addresses, reach: 1 }
}

/// Every call that a table may make in memory shared with the parent: none
/// of them maps, unmaps or writes memory that is not named here.
const RULES: &[Rule] = &[
    rule(libc::SYS_close_range, 0),
    rule(libc::SYS_dup3, 0),
    rule(libc::SYS_fcntl, 0),
    rule(libc::SYS_chdir, 0b1),
    Rule { reach: SIGACTION_SIZE, ..rule(libc::SYS_rt_sigaction, 0b10) },
    rule(libc::SYS_rt_sigprocmask, 0b10),
    rule(libc::SYS_execve, 0b111),
    rule(libc::SYS_exit_group, 0),
    rule(libc::SYS_set_robust_list, 0b1),
    rule(libc::SYS_gettid, 0),
    rule(libc::SYS_getppid, 0),
    rule(libc::SYS_futex, 0b1),
    Rule { nr: local::VALUE, addresses: 0, reach: 0 },
    Rule { nr: local::COMPARE, addresses: 0b11, reach: 0 },
    Rule { nr: local::DECIMAL, addresses: 0, reach: 0 },
];

/// What is wrong with a table: a mistake of ours, never of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Empty,
    Long,
    Row(u16),
    End,
    Text,
    List,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Row(n) => write!(f, "row {n} of the table is not sound"),
            Flaw::Long => f.write_str("the table has over 65,534 rows"),
            Flaw::Empty => f.write_str("the table is empty"),
            Flaw::End => f.write_str("the table does not end in exec or exit"),
            Flaw::Text => f.write_str("the text does not end in NUL"),
            Flaw::List => f.write_str("a list holds a foreign address"),
        }
    }
}

/// Rows that may run, with what they point to. Holding one is the proof:
///
/// 1. every row makes a call of [`RULES`], and every argument that the
///    kernel takes as an address is a string of `text`, an array of `lists`
///    or a slot that the launch fills with the address of another;
/// 2. `text` ends in NUL, so every string in it ends within it; `lists` ends
///    in 0 and holds only addresses of `text`;
/// 3. the last row is an exec that must succeed or an exit, and no row hops
///    past it: the walker never leaves the table;
/// 4. every slot number is below [`slot::COUNT`], and no row writes a slot
///    that holds an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    rows: &'a [Call],
}

impl<'a> Table<'a> {
    /// The only constructor. Costs about 2 ns a row and 1 ns a list entry.
    pub(crate) fn new(
        rows: &'a [Call],
        text: &'a [u8],
        lists: &'a [u64],
    ) -> Result<Table<'a>, Flaw> {
        let last = rows.last().ok_or(Flaw::Empty)?;
        if rows.len() >= usize::from(u16::MAX) {
            return Err(Flaw::Long);
        }
        if !matches!(text.last(), None | Some(0)) {
            return Err(Flaw::Text);
        }
        let text = span(text.as_ptr().addr(), text.len());
        let in_text = |at: u64| at.wrapping_sub(text.0) < text.1;
        if !lists.iter().all(|at| *at == 0 || in_text(*at)) {
            return Err(Flaw::List);
        }
        if !matches!(lists.last(), None | Some(0)) {
            return Err(Flaw::List);
        }
        let lists = span(lists.as_ptr().addr(), size_of_val(lists));
        for (n, row) in (1u16..).zip(rows) {
            let next = usize::from(n) + usize::from(row.hop / ROW);
            let stays = next < rows.len() || usize::from(n) == rows.len();
            let whole = row.hop % ROW == 0;
            let own = row.row == n && whole && stays;
            if !own || !sound(row, text, lists) {
                return Err(Flaw::Row(n));
            }
        }
        let ends = [number(libc::SYS_execve), number(libc::SYS_exit_group)];
        let ends = ends.contains(&last.nr) && last.hop == 0;
        if !ends || last.check != Check::Must {
            return Err(Flaw::End);
        }
        Ok(Table { rows })
    }

    pub(crate) fn rows(&self) -> &'a [Call] {
        self.rows
    }
}

/// Start and length, as the rows have them.
fn span(start: usize, len: usize) -> (u64, u64) {
    (start as u64, len as u64)
}

/// Whether one row keeps clauses 1 and 4 of [`Table`].
fn sound(row: &Call, text: (u64, u64), lists: (u64, u64)) -> bool {
    let Some(rule) = RULES.iter().find(|rule| rule.nr == row.nr) else {
        return false;
    };
    let args = (0u8..).zip(row.args).all(|(i, arg)| {
        let bit = 1u8 << i;
        let (is_slot, is_text) = (row.slots & bit, row.texts & bit);
        let address = rule.addresses & bit != 0;
        if is_slot != 0 {
            let held = slot::MASK_AT..slot::FREE;
            let held = held.map(u64::from).any(|n| n == arg);
            let number = arg < u64::from(slot::COUNT);
            i < 3 && number && (held || !address)
        } else if is_text != 0 {
            let compared = row.nr == local::COMPARE;
            let reach = if compared { row.args[2] } else { rule.reach };
            let at = arg.wrapping_sub(text.0);
            address && at < text.1 && reach <= text.1 - at
        } else if row.lists & bit != 0 {
            let at = arg.wrapping_sub(lists.0);
            address && at < lists.1 && at % 8 == 0
        } else {
            !address
        }
    });
    let free = slot::FREE..slot::COUNT;
    let kept = [slot::SINK, slot::WORD];
    let writes = kept.contains(&row.store) || free.contains(&row.store);
    args && writes
}

#[cfg(test)]
mod tests {
    use super::{Flaw, Table};
    use crate::call::{Call, Check, ROW, local, number, slot};

    const EXIT: u32 = number(libc::SYS_exit_group);
    const CHDIR: u32 = number(libc::SYS_chdir);
    const TEXT: &[u8] = b"/srv\0tail\0";

    /// What a table of this row and an exit is refused for.
    fn refused(row: Call) -> Option<Flaw> {
        let exit = Call { row: 2, ..Call::new(EXIT, [0; 6]) };
        let row = Call { row: 1, ..row };
        Table::new(&[row, exit], TEXT, &[]).err()
    }

    fn chdir(offset: usize) -> Call {
        let at = TEXT.as_ptr().addr().wrapping_add(offset) as u64;
        let row = Call::new(CHDIR, [at, 0, 0, 0, 0, 0]);
        Call { texts: 1, ..row }
    }

    #[test]
    fn a_string_of_the_text_is_taken_and_nothing_outside_it() {
        assert_eq!(refused(chdir(0)), None);
        assert_eq!(refused(chdir(TEXT.len() - 1)), None);
        assert_eq!(refused(chdir(TEXT.len())), Some(Flaw::Row(1)));
        assert_eq!(refused(chdir(usize::MAX)), Some(Flaw::Row(1)));
        let bare = Call { texts: 0, ..chdir(0) };
        assert_eq!(refused(bare), Some(Flaw::Row(1)), "not declared");
        let list = Call { texts: 0, lists: 1, ..chdir(0) };
        assert_eq!(refused(list), Some(Flaw::Row(1)), "in no list");
    }

    #[test]
    fn a_structure_must_lie_in_the_text_whole() {
        let nr = number(libc::SYS_rt_sigaction);
        let zeros = [0u8; 33];
        for (offset, sound) in [(0, true), (1, true), (2, false)] {
            let at = (zeros.as_ptr().addr() + offset) as u64;
            let row = Call::new(nr, [13, at, 0, 8, 0, 0]);
            let rows = [
                Call { texts: 0b10, row: 1, ..row },
                Call { row: 2, ..Call::new(EXIT, [0; 6]) },
            ];
            assert_eq!(Table::new(&rows, &zeros, &[]).is_ok(), sound);
        }
    }

    #[test]
    fn only_listed_calls_may_run() {
        for nr in [libc::SYS_munmap, libc::SYS_mmap, libc::SYS_kill] {
            let row = Call::new(number(nr), [0; 6]);
            assert_eq!(refused(row), Some(Flaw::Row(1)));
        }
        assert_eq!(refused(Call::new(u32::MAX, [0; 6])), Some(Flaw::Row(1)));
    }

    #[test]
    fn no_row_writes_a_slot_that_the_launch_fills() {
        let value = Call::new(local::VALUE, [0; 6]);
        for n in 0..=u8::MAX {
            let row = Call { store: n, ..value };
            let free = (slot::FREE..slot::COUNT).contains(&n);
            let sound = free || n == slot::SINK || n == slot::WORD;
            assert_eq!(refused(row).is_none(), sound, "store {n}");
        }
    }

    #[test]
    fn slots_hold_addresses_only_where_the_launch_put_them() {
        let mask = number(libc::SYS_rt_sigprocmask);
        for n in 0..=u64::from(slot::COUNT) {
            let row = Call::new(mask, [2, n, 0, 8, 0, 0]);
            let row = Call { slots: 0b10, ..row };
            let held = [slot::MASK_AT, slot::HEAD_AT].map(u64::from);
            assert_eq!(refused(row).is_none(), held.contains(&n), "{n}");
        }
        let late = Call { slots: 0b1000, ..Call::new(local::VALUE, [0; 6]) };
        assert_eq!(refused(late), Some(Flaw::Row(1)), "the fourth argument");
    }

    #[test]
    fn the_walker_cannot_leave_the_table() {
        let value = Call::new(local::VALUE, [0; 6]);
        let hop = |hop| Call { hop, check: Check::Skip, ..value };
        assert_eq!(refused(hop(0)), None);
        assert_eq!(refused(hop(ROW)), Some(Flaw::Row(1)));
        assert_eq!(refused(hop(8)), Some(Flaw::Row(1)), "not a row");
        let end =
            |row: Call| Table::new(&[Call { row: 1, ..row }], TEXT, &[]).err();
        assert_eq!(end(value), Some(Flaw::End));
        let soft = Call { check: Check::May, ..Call::new(EXIT, [0; 6]) };
        assert_eq!(end(soft), Some(Flaw::End));
        assert_eq!(Table::new(&[], TEXT, &[]).err(), Some(Flaw::Empty));
        let late = [Call { row: 2, ..Call::new(EXIT, [0; 6]) }];
        let found = Table::new(&late, TEXT, &[]).err();
        assert_eq!(found, Some(Flaw::Row(1)), "not its own place");
    }

    #[test]
    fn lists_and_text_are_closed() {
        let exit = [Call { row: 1, ..Call::new(EXIT, [0; 6]) }];
        let at = TEXT.as_ptr().addr() as u64;
        let new = |text, lists: &[u64]| Table::new(&exit, text, lists).err();
        assert_eq!(new(TEXT, &[at, at + 5, 0]), None);
        assert_eq!(new(TEXT, &[at, at + 5]), Some(Flaw::List));
        assert_eq!(new(TEXT, &[at + 10, 0]), Some(Flaw::List));
        assert_eq!(new(&TEXT[..4], &[]), Some(Flaw::Text));
    }
}
