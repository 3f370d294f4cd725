//! `Table`: rows that have been verified, so that they may run.

use super::raw::RawCall;
use super::rules::{Extent, RULES, Rule};
use super::verify_error::VerifyError;
use super::{Call, Callback, ROW, filter, local, slot};

/// Rows that may run, and the lists that they point to. It exists only if:
///
/// 1. every row makes a call of [`RULES`], or a [`RawCall`] that its caller
///    vouches for with its arguments, and every argument that the kernel
///    takes as an address is NULL, a string of `text`, an array of `lists` or
///    a slot in which the launch stores the address of other slots, all of
///    them valid for as many bytes as the call reads or writes; no call
///    writes to `text` or `lists`;
/// 2. `text` ends in NUL, so every string in it ends within it; `lists` ends
///    in 0 and contains only addresses in `text`, and the lengths of filter
///    programs;
/// 3. the last row is an exec that must not return or an exit, and no row skips
///    past it: the walker never leaves the table;
/// 4. every slot number is below [`slot::COUNT`], and no row writes a slot
///    that holds an address;
/// 5. a function that a row calls is one of `callbacks`;
/// 6. the slot of an environment that is not in `lists` is used only as the
///    environment of an exec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    rows: &'a [Call],
    lists: &'a [u64],
}

/// The memory of a plan: address and length of each part.
pub(super) struct Memory<'a> {
    pub(super) text: (u64, u64),
    pub(super) lists: (u64, u64),
    pub(super) entries: &'a [u64],
    pub(super) callbacks: (u64, u64),
    /// Whether the child has it for itself.
    pub(super) private: bool,
    /// An address that lists may contain although it is not in the text.
    pub(super) also: Option<u64>,
    pub(super) raw: &'a [RawCall],
}

impl<'a> Table<'a> {
    /// A table without raw calls.
    #[cfg(test)]
    pub(crate) fn new(
        rows: &'a [Call],
        text: &'a [u8],
        lists: &'a [u64],
        callbacks: &'a [Callback],
    ) -> Result<Table<'a>, VerifyError> {
        Table::with_raw(rows, text, lists, callbacks, &[])
    }

    /// The only constructor. It takes about 2 ns a row and 1 ns a list entry.
    pub(crate) fn with_raw(
        rows: &'a [Call],
        text: &'a [u8],
        lists: &'a [u64],
        callbacks: &'a [Callback],
        raw: &[RawCall],
    ) -> Result<Table<'a>, VerifyError> {
        if !matches!(text.last(), None | Some(0)) {
            return Err(VerifyError::Text);
        }
        let memory = Memory {
            text: span(text),
            lists: span(lists),
            entries: lists,
            callbacks: span(callbacks),
            private: false,
            also: None,
            raw,
        };
        verify(rows, 1, &memory)?;
        Ok(Table { rows, lists })
    }

    pub(crate) fn rows(&self) -> &'a [Call] {
        self.rows
    }

    pub(crate) fn lists(&self) -> &'a [u64] {
        self.lists
    }
}

/// Checks the clauses of [`Table`] for rows numbered from `first` that point
/// into this memory.
pub(super) fn verify(
    rows: &[Call],
    first: u16,
    memory: &Memory<'_>,
) -> Result<(), VerifyError> {
    let lists = memory.entries;
    let last = rows.last().ok_or(VerifyError::Empty)?;
    if rows.len() + usize::from(first) > usize::from(u16::MAX) {
        return Err(VerifyError::TooLong);
    }
    let in_text = |at: u64| at.wrapping_sub(memory.text.0) < memory.text.1;
    let known =
        |at: u64| at <= filter::MOST || in_text(at) || memory.also == Some(at);
    if !lists.iter().all(|at| known(*at)) {
        return Err(VerifyError::List);
    }
    if !matches!(lists.last(), None | Some(0)) {
        return Err(VerifyError::List);
    }
    for (n, row) in (1u16..).zip(rows) {
        let next = usize::from(n) + usize::from(row.skip / ROW);
        let stays = next < rows.len() || usize::from(n) == rows.len();
        let whole = row.skip % ROW == 0;
        let numbered = row.row == first + n - 1;
        if !(numbered && whole && stays && is_valid(row, memory)) {
            return Err(VerifyError::Row(n));
        }
    }
    if !last.ends_table() {
        return Err(VerifyError::End);
    }
    Ok(())
}

/// Returns address and length in bytes.
fn span<T>(all: &[T]) -> (u64, u64) {
    (all.as_ptr().addr() as u64, size_of_val(all) as u64)
}

/// Whether clauses 1, 4, 5 and 6 of [`Table`] hold for a row.
fn is_valid(row: &Call, memory: &Memory<'_>) -> bool {
    let fixed = |(i, n): &(usize, u64)| {
        row.slots & (1 << i) == 0 && row.args.get(*i) == Some(n)
    };
    // The number first: it differs for most rules.
    let is = |rule: &&Rule| {
        rule.nr == row.nr
            && rule.fixed.iter().all(fixed)
            && (memory.private || !rule.private)
    };
    let free = slot::FREE..slot::COUNT;
    let stored =
        slot::WRITTEN.contains(&row.store) || free.contains(&row.store);
    let by_rule = |rule: &Rule| are_valid_arguments(row, rule, memory);
    let known = RULES.iter().find(is).is_some_and(by_rule);
    let vouched =
        || memory.raw.iter().any(|raw| raw.permits(row, memory.text));
    stored && row.fds == 0 && (known || vouched())
}

fn are_valid_arguments(row: &Call, rule: &Rule, memory: &Memory<'_>) -> bool {
    // An argument that is no address and is not marked may be any number.
    let callback = u8::from(row.nr == local::CALLBACK);
    let mut left = row.slots | row.texts | row.lists;
    left |= rule.reads | rule.writes | callback;
    while left != 0 {
        let i = left.trailing_zeros();
        left &= left - 1;
        let arg = row.args.get(i as usize);
        let valid = |arg: &u64| is_valid_argument(row, rule, memory, i, *arg);
        if !arg.is_some_and(valid) {
            return false;
        }
    }
    true
}

fn is_valid_argument(
    row: &Call,
    rule: &Rule,
    memory: &Memory<'_>,
    i: u32,
    arg: u64,
) -> bool {
    let bit = 1u8 << i;
    let (read, written) = (rule.reads & bit != 0, rule.writes & bit != 0);
    let address = read || written;
    if row.nr == local::CALLBACK && i == 0 {
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
        let holder = |of: &&(u8, u8, u64)| u64::from(of.0) == arg;
        let holder = slot::ADDRESSES.iter().find(holder);
        let fits = holder.is_some_and(|of| fits(row, rule, of.2));
        return !address || fits;
    }
    if row.texts & bit != 0 {
        let at = arg.wrapping_sub(memory.text.0);
        let inside = at < memory.text.1;
        return read && inside && fits(row, rule, memory.text.1 - at);
    }
    if row.lists & bit != 0 {
        let at = arg.wrapping_sub(memory.lists.0);
        let inside = read && at < memory.lists.1 && at % 8 == 0;
        return inside
            && match rule.extent {
                Extent::Program => {
                    filter::is_valid(row, at / 8, memory.entries, memory.text)
                }
                _ => true,
            };
    }
    // A system call fails with EFAULT or takes NULL for "none"; a row that the
    // walker computes would read it.
    !address || (arg == 0 && row.nr & local::VALUE == 0)
}

/// Returns the argument of an exec row that is the environment.
fn environment(row: &Call) -> Option<u32> {
    match libc::c_long::from(row.nr) {
        libc::SYS_execve => Some(2),
        libc::SYS_execveat => Some(3),
        _ => None,
    }
}

/// Returns an argument that is not in a slot.
fn literal(row: &Call, arg: usize) -> Option<u64> {
    let literal = row.slots & (1 << arg) == 0;
    row.args.get(arg).copied().filter(|_| literal)
}

/// Whether what the call reads or writes fits into `room` bytes.
fn fits(row: &Call, rule: &Rule, room: u64) -> bool {
    match rule.extent {
        Extent::String => true,
        // It has an address of its own, so it is in the lists.
        Extent::Program => false,
        Extent::Bytes(len) => len <= room,
        Extent::Counted(by, unit) => {
            let count = literal(row, by);
            let bytes = count.and_then(|count| count.checked_mul(unit));
            bytes.is_some_and(|n| n <= room)
        }
        Extent::Bits(by) => {
            literal(row, by).is_some_and(|n| n.div_ceil(64) <= room / 8)
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

    /// Returns why a table of this row and an exit is invalid.
    fn error_of(row: Call) -> Option<VerifyError> {
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
    fn the_last_row_is_an_exit_or_an_exec_that_must_not_return() {
        let mut exec = Call::new(number(libc::SYS_execve), [0; 6]);
        assert!(!exec.ends_table());
        exec.must_not_return();
        assert!(exec.ends_table());
        exec.skip = ROW;
        assert!(!exec.ends_table());
        let mut other = Call::new(number(libc::SYS_getpid), [0; 6]);
        other.must_not_return();
        assert!(!other.ends_table());
        assert!(Call::new(EXIT, [0; 6]).ends_table());
    }

    #[test]
    fn a_string_of_the_text_is_valid_and_nothing_outside_it() {
        assert_eq!(error_of(chdir(0)), None);
        assert_eq!(error_of(chdir(TEXT.len() - 1)), None);
        assert_eq!(error_of(chdir(TEXT.len())), Some(VerifyError::Row(1)));
        assert_eq!(error_of(chdir(usize::MAX)), Some(VerifyError::Row(1)));
        let bare = Call { texts: 0, ..chdir(0) };
        assert_eq!(
            error_of(bare),
            Some(VerifyError::Row(1)),
            "not marked as a string"
        );
        let list = Call { texts: 0, lists: 1, ..chdir(0) };
        assert_eq!(error_of(list), Some(VerifyError::Row(1)), "in no list");
    }

    #[test]
    fn a_structure_must_be_in_the_text_as_a_whole() {
        let (nr, zeros) = (number(libc::SYS_rt_sigaction), [0u8; 33]);
        for (offset, valid) in [(0, true), (1, true), (2, false)] {
            let at = (zeros.as_ptr().addr() + offset) as u64;
            let row = Call::new(nr, [13, at, 0, 8, 0, 0]);
            let rows = [
                Call { texts: 0b10, row: 1, ..row },
                Call { row: 2, ..Call::new(EXIT, [0; 6]) },
            ];
            assert_eq!(Table::new(&rows, &zeros, &[], &[]).is_ok(), valid);
        }
    }

    #[test]
    fn only_listed_calls_may_run() {
        let calls = [libc::SYS_munmap, libc::SYS_mmap, libc::SYS_kill];
        for nr in calls.map(number).into_iter().chain([u32::MAX]) {
            let row = Call::new(nr, [0; 6]);
            assert_eq!(error_of(row), Some(VerifyError::Row(1)));
        }
    }

    #[test]
    fn no_row_writes_a_slot_that_the_launch_fills() {
        let value = Call::new(local::VALUE, [0; 6]);
        for n in 0..=u8::MAX {
            let row = Call { store: n, ..value };
            let free = (slot::FREE..slot::COUNT).contains(&n);
            let valid = free || slot::WRITTEN.contains(&n);
            assert_eq!(error_of(row).is_none(), valid, "store {n}");
        }
    }

    #[test]
    fn slots_are_addresses_only_where_the_launch_stores_them() {
        let mask = number(libc::SYS_rt_sigprocmask);
        for n in 0..=u64::from(slot::COUNT) {
            let row = Call::new(mask, [2, n, 0, 8, 0, 0]);
            let row = Call { slots: 0b10, ..row };
            let holders = slot::ADDRESSES.map(|of| u64::from(of.0));
            assert_eq!(error_of(row).is_none(), holders.contains(&n), "{n}");
        }
        let robust = number(libc::SYS_set_robust_list);
        for (holder, _, room) in slot::ADDRESSES {
            let row = Call::new(robust, [u64::from(holder), 24, 0, 0, 0, 0]);
            let row = Call { slots: 0b1, ..row };
            assert_eq!(error_of(row).is_none(), room >= 24, "{holder}");
        }
        let late = Call { slots: 0b10000, ..Call::new(local::VALUE, [0; 6]) };
        assert_eq!(
            error_of(late),
            Some(VerifyError::Row(1)),
            "the fifth argument"
        );
    }

    #[test]
    fn the_walker_cannot_leave_the_table() {
        let value = Call::new(local::VALUE, [0; 6]);
        let skip = |skip| Call { skip, check: Check::Skip, ..value };
        assert_eq!(error_of(skip(0)), None);
        assert_eq!(error_of(skip(ROW)), Some(VerifyError::Row(1)));
        assert_eq!(error_of(skip(8)), Some(VerifyError::Row(1)), "not a row");
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
        assert_eq!(found, Some(VerifyError::Row(1)), "not its own number");
    }

    #[test]
    fn lists_and_text_end_and_point_to_nothing_else() {
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
    fn what_a_call_writes_is_in_the_block_and_fits() {
        let nr = number(libc::SYS_getgroups);
        let scratch = u64::from(slot::SCRATCH_ADDR);
        for (count, valid) in [(0, true), (32, true), (33, false)] {
            let row = Call::new(nr, [count, scratch, 0, 0, 0, 0]);
            let row = Call { slots: 0b10, ..row };
            assert_eq!(error_of(row).is_none(), valid, "{count}");
            let counted = Call { slots: 0b11, ..row };
            assert_eq!(
                error_of(counted),
                Some(VerifyError::Row(1)),
                "not literal"
            );
        }
        let at = TEXT.as_ptr().addr() as u64;
        let text = Call { texts: 0b10, ..Call::new(nr, [1, at, 0, 0, 0, 0]) };
        assert_eq!(error_of(text), Some(VerifyError::Row(1)), "written text");
        assert_eq!(error_of(Call::new(nr, [0; 6])), None, "NULL");
        let compare = Call::new(local::COMPARE, [0; 6]);
        assert_eq!(
            error_of(compare),
            Some(VerifyError::Row(1)),
            "NULL, which the walker would read"
        );
    }

    #[test]
    fn only_listed_functions_are_called() {
        extern "C" fn nothing(_: u64, _: u64, _: u64) -> i64 {
            0
        }
        let callbacks = [Callback { run: nothing, data: 0 }; 2];
        let at = callbacks.as_ptr().addr() as u64;
        for (arg, valid) in
            [(at, true), (at + 16, true), (at + 8, false), (at + 32, false)]
        {
            let row = Call::new(local::CALLBACK, [arg, 0, 0, 0, 0, 0]);
            let rows = [
                Call { row: 1, ..row },
                Call { row: 2, ..Call::new(EXIT, [0; 6]) },
            ];
            let found = Table::new(&rows, TEXT, &[], &callbacks);
            assert_eq!(found.is_ok(), valid, "{}", arg - at);
        }
    }
}
