//! `Table`: rows that were verified. Holding one is the proof.

use core::fmt;

use super::rules::{RULES, Reach, Rule};
use super::{Call, Callback, Check, ROW, local, number, slot};

/// What is wrong with a table: a mistake of ours, never of the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VerifyError {
    Empty,
    Long,
    Row(u16),
    End,
    Text,
    List,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Row(n) => {
                write!(f, "row {n} of the table is not sound")
            }
            VerifyError::Long => f.write_str("the table has over 65,534 rows"),
            VerifyError::Empty => f.write_str("the table is empty"),
            VerifyError::End => {
                f.write_str("the table does not end in exec or exit")
            }
            VerifyError::Text => f.write_str("the text does not end in NUL"),
            VerifyError::List => f.write_str("a list holds a foreign address"),
        }
    }
}

/// Rows that may run, with what they point to. Holding one is the proof:
///
/// 1. every row makes a call of [`RULES`], and every argument that the
///    kernel takes as an address is NULL, a string of `text`, an array of
///    `lists` or a slot that the launch fills with the address of others,
///    for as many bytes as the call reads or writes; nothing writes to
///    `text` or `lists`;
/// 2. `text` ends in NUL, so every string in it ends within it; `lists` ends
///    in 0 and holds only addresses of `text`;
/// 3. the last row is an exec that must succeed or an exit, and no row hops
///    past it: the walker never leaves the table;
/// 4. every slot number is below [`slot::COUNT`], and no row writes a slot
///    that holds an address;
/// 5. a function that is called is one of `entries`;
/// 6. the slot of the launch's own environment is used as that of an exec
///    only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    rows: &'a [Call],
    lists: &'a [u64],
}

/// Where a plan's memory lies: start and length of each part.
pub(super) struct Memory {
    pub(super) text: (u64, u64),
    pub(super) lists: (u64, u64),
    pub(super) callbacks: (u64, u64),
    /// Whether it is the child's own.
    pub(super) private: bool,
    /// An address in lists that is none of the text.
    pub(super) also: Option<u64>,
}

impl<'a> Table<'a> {
    /// The only constructor. Costs about 2 ns a row and 1 ns a list entry.
    pub(crate) fn new(
        rows: &'a [Call],
        text: &'a [u8],
        lists: &'a [u64],
        callbacks: &'a [Callback],
    ) -> Result<Table<'a>, VerifyError> {
        if !matches!(text.last(), None | Some(0)) {
            return Err(VerifyError::Text);
        }
        let memory = Memory {
            text: span(text),
            lists: span(lists),
            callbacks: span(callbacks),
            private: false,
            also: None,
        };
        verify(rows, 1, lists, &memory)?;
        Ok(Table { rows, lists })
    }

    pub(crate) fn rows(&self) -> &'a [Call] {
        self.rows
    }

    pub(crate) fn lists(&self) -> &'a [u64] {
        self.lists
    }
}

/// Whether rows, counted from `first`, keep the clauses of [`Table`] in this
/// memory.
pub(super) fn verify(
    rows: &[Call],
    first: u16,
    lists: &[u64],
    memory: &Memory,
) -> Result<(), VerifyError> {
    let last = rows.last().ok_or(VerifyError::Empty)?;
    if rows.len() + usize::from(first) > usize::from(u16::MAX) {
        return Err(VerifyError::Long);
    }
    let in_text = |at: u64| at.wrapping_sub(memory.text.0) < memory.text.1;
    let known = |at: u64| at == 0 || in_text(at) || memory.also == Some(at);
    if !lists.iter().all(|at| known(*at)) {
        return Err(VerifyError::List);
    }
    if !matches!(lists.last(), None | Some(0)) {
        return Err(VerifyError::List);
    }
    for (n, row) in (1u16..).zip(rows) {
        let next = usize::from(n) + usize::from(row.hop / ROW);
        let stays = next < rows.len() || usize::from(n) == rows.len();
        let whole = row.hop % ROW == 0;
        let own = row.row == first + n - 1 && whole && stays;
        if !own || !sound(row, memory) {
            return Err(VerifyError::Row(n));
        }
    }
    let exit = last.nr == number(libc::SYS_exit_group);
    let ends = (exit || environment(last).is_some()) && last.hop == 0;
    if !ends || last.check != Check::Must {
        return Err(VerifyError::End);
    }
    Ok(())
}

/// Start and length in bytes, as the rows have them.
fn span<T>(all: &[T]) -> (u64, u64) {
    (all.as_ptr().addr() as u64, size_of_val(all) as u64)
}

/// Whether one row keeps clauses 1, 4 and 5 of [`Table`].
fn sound(row: &Call, memory: &Memory) -> bool {
    let fixed = |(i, n): &(usize, u64)| {
        row.slots & (1 << i) == 0 && row.args.get(*i) == Some(n)
    };
    // The number first: most are others.
    let is = |rule: &&Rule| {
        rule.nr == row.nr
            && rule.fixed.iter().all(fixed)
            && (memory.private || !rule.private)
    };
    let Some(rule) = RULES.iter().find(is) else {
        return false;
    };
    // What is neither an address nor marked as anything may be any number.
    let first = u8::from(row.nr == local::HOOK);
    let mut left = row.slots | row.texts | row.lists;
    left |= rule.reads | rule.writes | first;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let arg = row.args.get(i as usize);
        if !arg.is_some_and(|arg| argument(row, rule, memory, i, *arg)) {
            return false;
        }
    }
    let free = slot::FREE..slot::COUNT;
    slot::WRITTEN.contains(&row.store) || free.contains(&row.store)
}

fn argument(
    row: &Call,
    rule: &Rule,
    memory: &Memory,
    i: u32,
    arg: u64,
) -> bool {
    let bit = 1u8 << i;
    let (read, written) = (rule.reads & bit != 0, rule.writes & bit != 0);
    let address = read || written;
    if row.nr == local::HOOK && i == 0 {
        let at = arg.wrapping_sub(memory.callbacks.0);
        return row.slots & bit == 0
            && at < memory.callbacks.1
            && at % 16 == 0;
    }
    if row.slots & bit != 0 {
        if i >= 4 || arg >= u64::from(slot::COUNT) {
            return false;
        }
        if arg == u64::from(slot::ENVIRON) && environment(row) == Some(i) {
            return !memory.private;
        }
        let held = |held: &&(u8, u8, u64)| u64::from(held.0) == arg;
        let held = slot::ADDRESSES.iter().find(held);
        let fits = held.is_some_and(|held| reach(row, rule, held.2));
        return !address || fits;
    }
    if row.texts & bit != 0 {
        let at = arg.wrapping_sub(memory.text.0);
        let inside = at < memory.text.1;
        return read && inside && reach(row, rule, memory.text.1 - at);
    }
    if row.lists & bit != 0 {
        let at = arg.wrapping_sub(memory.lists.0);
        return read && at < memory.lists.1 && at % 8 == 0;
    }
    // The kernel answers NULL with EFAULT or takes it for "none"; the walker
    // itself would read it.
    !address || (arg == 0 && row.nr & local::VALUE == 0)
}

/// Which argument of a row is the environment that a program gets.
fn environment(row: &Call) -> Option<u32> {
    match libc::c_long::from(row.nr) {
        libc::SYS_execve => Some(2),
        libc::SYS_execveat => Some(3),
        _ => None,
    }
}

/// Whether what the call reads or writes fits into `room` bytes.
fn reach(row: &Call, rule: &Rule, room: u64) -> bool {
    match rule.reach {
        Reach::String => true,
        Reach::Bytes(len) => len <= room,
        Reach::Counted(by, unit) => {
            let literal = row.slots & (1 << by) == 0;
            let count = row.args.get(by).copied().unwrap_or(u64::MAX);
            literal && count.checked_mul(unit).is_some_and(|n| n <= room)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, VerifyError};
    use crate::call::{Call, Callback, Check, ROW, local, number, slot};

    const EXIT: u32 = number(libc::SYS_exit_group);
    const CHDIR: u32 = number(libc::SYS_chdir);
    const TEXT: &[u8] = b"/srv\0tail\0";

    /// What a table of this row and an exit is refused for.
    fn refused(row: Call) -> Option<VerifyError> {
        let exit = Call { row: 2, ..Call::new(EXIT, [0; 6]) };
        let row = Call { row: 1, ..row };
        Table::new(&[row, exit], TEXT, &[], &[]).err()
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
        assert_eq!(refused(chdir(TEXT.len())), Some(VerifyError::Row(1)));
        assert_eq!(refused(chdir(usize::MAX)), Some(VerifyError::Row(1)));
        let bare = Call { texts: 0, ..chdir(0) };
        assert_eq!(refused(bare), Some(VerifyError::Row(1)), "not declared");
        let list = Call { texts: 0, lists: 1, ..chdir(0) };
        assert_eq!(refused(list), Some(VerifyError::Row(1)), "in no list");
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
            assert_eq!(Table::new(&rows, &zeros, &[], &[]).is_ok(), sound);
        }
    }

    #[test]
    fn only_listed_calls_may_run() {
        for nr in [libc::SYS_munmap, libc::SYS_mmap, libc::SYS_kill] {
            let row = Call::new(number(nr), [0; 6]);
            assert_eq!(refused(row), Some(VerifyError::Row(1)));
        }
        assert_eq!(
            refused(Call::new(u32::MAX, [0; 6])),
            Some(VerifyError::Row(1))
        );
    }

    #[test]
    fn no_row_writes_a_slot_that_the_launch_fills() {
        let value = Call::new(local::VALUE, [0; 6]);
        for n in 0..=u8::MAX {
            let row = Call { store: n, ..value };
            let free = (slot::FREE..slot::COUNT).contains(&n);
            let sound = free || slot::WRITTEN.contains(&n);
            assert_eq!(refused(row).is_none(), sound, "store {n}");
        }
    }

    #[test]
    fn slots_hold_addresses_only_where_the_launch_put_them() {
        let mask = number(libc::SYS_rt_sigprocmask);
        for n in 0..=u64::from(slot::COUNT) {
            let row = Call::new(mask, [2, n, 0, 8, 0, 0]);
            let row = Call { slots: 0b10, ..row };
            let held = slot::ADDRESSES.map(|held| u64::from(held.0));
            assert_eq!(refused(row).is_none(), held.contains(&n), "{n}");
        }
        let robust = number(libc::SYS_set_robust_list);
        for (held, _, room) in slot::ADDRESSES {
            let row = Call::new(robust, [u64::from(held), 24, 0, 0, 0, 0]);
            let row = Call { slots: 0b1, ..row };
            assert_eq!(refused(row).is_none(), room >= 24, "{held}");
        }
        let late = Call { slots: 0b10000, ..Call::new(local::VALUE, [0; 6]) };
        assert_eq!(
            refused(late),
            Some(VerifyError::Row(1)),
            "the fifth argument"
        );
    }

    #[test]
    fn the_walker_cannot_leave_the_table() {
        let value = Call::new(local::VALUE, [0; 6]);
        let hop = |hop| Call { hop, check: Check::Skip, ..value };
        assert_eq!(refused(hop(0)), None);
        assert_eq!(refused(hop(ROW)), Some(VerifyError::Row(1)));
        assert_eq!(refused(hop(8)), Some(VerifyError::Row(1)), "not a row");
        let end = |row: Call| {
            Table::new(&[Call { row: 1, ..row }], TEXT, &[], &[]).err()
        };
        assert_eq!(end(value), Some(VerifyError::End));
        let soft = Call { check: Check::May, ..Call::new(EXIT, [0; 6]) };
        assert_eq!(end(soft), Some(VerifyError::End));
        assert_eq!(
            Table::new(&[], TEXT, &[], &[]).err(),
            Some(VerifyError::Empty)
        );
        let late = [Call { row: 2, ..Call::new(EXIT, [0; 6]) }];
        let found = Table::new(&late, TEXT, &[], &[]).err();
        assert_eq!(found, Some(VerifyError::Row(1)), "not its own place");
    }

    #[test]
    fn lists_and_text_are_closed() {
        let exit = [Call { row: 1, ..Call::new(EXIT, [0; 6]) }];
        let at = TEXT.as_ptr().addr() as u64;
        let new =
            |text, lists: &[u64]| Table::new(&exit, text, lists, &[]).err();
        assert_eq!(new(TEXT, &[at, at + 5, 0]), None);
        assert_eq!(new(TEXT, &[at, at + 5]), Some(VerifyError::List));
        assert_eq!(new(TEXT, &[at + 10, 0]), Some(VerifyError::List));
        assert_eq!(new(&TEXT[..4], &[]), Some(VerifyError::Text));
    }

    #[test]
    fn what_a_call_writes_lies_in_the_block_and_fits() {
        let nr = number(libc::SYS_getgroups);
        let scratch = u64::from(slot::SCRATCH_AT);
        for (count, sound) in [(0, true), (32, true), (33, false)] {
            let row = Call::new(nr, [count, scratch, 0, 0, 0, 0]);
            let row = Call { slots: 0b10, ..row };
            assert_eq!(refused(row).is_none(), sound, "{count}");
            let counted = Call { slots: 0b11, ..row };
            assert_eq!(
                refused(counted),
                Some(VerifyError::Row(1)),
                "not literal"
            );
        }
        let at = TEXT.as_ptr().addr() as u64;
        let text = Call::new(nr, [1, at, 0, 0, 0, 0]);
        let text = Call { texts: 0b10, ..text };
        assert_eq!(refused(text), Some(VerifyError::Row(1)), "written text");
        let none = Call::new(nr, [0; 6]);
        assert_eq!(refused(none), None, "NULL");
        let compare = Call::new(local::COMPARE, [0; 6]);
        assert_eq!(
            refused(compare),
            Some(VerifyError::Row(1)),
            "NULL, read here"
        );
    }

    #[test]
    fn only_listed_functions_are_called() {
        extern "C" fn nothing(_: u64, _: u64, _: u64) -> i64 {
            0
        }
        let callbacks = [Callback { run: nothing, data: 0 }; 2];
        let at = callbacks.as_ptr().addr() as u64;
        for (arg, sound) in
            [(at, true), (at + 16, true), (at + 8, false), (at + 32, false)]
        {
            let row = Call::new(local::HOOK, [arg, 0, 0, 0, 0, 0]);
            let rows = [
                Call { row: 1, ..row },
                Call { row: 2, ..Call::new(EXIT, [0; 6]) },
            ];
            let found = Table::new(&rows, TEXT, &[], &callbacks);
            assert_eq!(found.is_ok(), sound, "{}", arg - at);
        }
    }
}
