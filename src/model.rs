//! Model of the walker: the walker in Rust on a fake kernel, compared with the
//! assembly row kind by row kind. Compiled for tests only.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "narrows numbers as registers do"
)]
extern crate std;

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::VecDeque;
use std::os::fd::{FromRawFd, OwnedFd};
use std::vec::Vec;
use std::{panic, thread, vec};

use crate::call::{
    Block, Call, Callback, Check, ROW, Table, errno_bits, local, number, slot,
};
use crate::launch::{LaunchArgs, Outcome, copied, exec_in_place, suspended};
use crate::sys::wait::Ended;
use crate::sys::{self, CloneCall, CloneFlags, bits};

/// The strings and the address of the block, for addresses in arguments.
struct Memory<'a> {
    text: &'a [u8],
    block_at: u64,
}

impl Memory<'_> {
    fn byte(&self, block: &Block, at: u64) -> u8 {
        let text_at = self.text.as_ptr().addr() as u64;
        let inside = at.checked_sub(text_at).map(|n| n as usize);
        if let Some(byte) = inside.and_then(|n| self.text.get(n)) {
            return *byte;
        }
        let n = (at - self.block_at - 24) as usize;
        block.slots[n / 8].to_le_bytes()[n % 8]
    }
}

/// Runs `rows` on a fake kernel; returns the exit code.
fn walk(
    rows: &[Call],
    block: &mut Block,
    memory: &Memory<'_>,
    kernel: &mut dyn FnMut(u32, [u64; 6]) -> i64,
) -> i32 {
    let before = *block;
    let mut kernel = |nr, args: [u64; 6]| match nr {
        local::COMPARE => compare(&before, memory, args),
        nr => kernel(nr, args),
    };
    let cell = UnsafeCell::new(*block);
    let code = exec_in_place::walk(rows, &cell, &mut kernel);
    *block = cell.into_inner();
    code.map_or(127, |code| code as i32)
}

fn compare(block: &Block, memory: &Memory<'_>, args: [u64; 6]) -> i64 {
    let same = |n| {
        let one = memory.byte(block, args[0] + n);
        one == memory.byte(block, args[1] + n)
    };
    i64::from(!(0..args[2]).all(same))
}

/// What a run of a table results in: exit code and block, except the slots
/// that the launch and the kernel fill.
#[derive(Debug, PartialEq, Eq)]
struct EndState {
    code: i32,
    reached: u32,
    failed: u32,
    denied: u32,
    result: i64,
    sink: u64,
    free: Vec<u64>,
}

fn end_state(code: i32, block: &Block) -> EndState {
    EndState {
        code,
        reached: block.reached,
        failed: block.failed,
        denied: block.denied,
        result: block.result,
        sink: block.slots[0],
        free: block.slots[usize::from(slot::FREE)..].to_vec(),
    }
}

const ARGS: LaunchArgs<'_> = LaunchArgs {
    traced: false,
    clone_call: CloneCall::Clone3,
    flags: CloneFlags::empty(),
    omitted_flags: CloneFlags::empty(),
    probe_fd: None,
    cgroup: None,
    mask: None,
    parent_pid: false,
    tids: &[],
    environ: None,
    gate: None,
    listener: None,
    watch: None,
    in_between: false,
};

/// Runs a table in children of the engines suspended and copied, and in the
/// model, and returns the end state, which must be the same for all three.
/// Loops use `compare_suspended`: without a robust futex `copied` waits 20 ms.
fn compare_all(rows: &[Call], text: &[u8], results: &[i64]) -> EndState {
    let model = compare_suspended(rows, text, results);
    let table = Table::new(rows, text, &[], &[]).expect("a valid table");
    let mut real = Block::new();
    let outcome = copied::launch(&table, &mut real, ARGS);
    assert_eq!(
        end_state(exit_code(outcome), &real),
        model,
        "copied: {rows:#?}"
    );
    model
}

fn compare_suspended(rows: &[Call], text: &[u8], results: &[i64]) -> EndState {
    let table = Table::new(rows, text, &[], &[]).expect("a valid table");
    let mut block = Block::new();
    block.slots[usize::from(slot::SIGMASK)] = sys::call::set_signal_mask(0);
    let block_at = (&raw const block).addr() as u64;
    let mask_at = block_at + 24 + 8 * u64::from(slot::SIGMASK);
    block.slots[usize::from(slot::SIGMASK_ADDR)] = mask_at;
    let memory = Memory { text, block_at };
    let mut script: VecDeque<i64> = results.iter().copied().collect();
    let mut kernel = |_, _| script.pop_front().expect("one more result");
    let code = walk(rows, &mut block, &memory, &mut kernel);
    let model = end_state(code, &block);
    let mut real = Block::new();
    let outcome = suspended::launch(&table, &mut real, ARGS);
    assert_eq!(
        end_state(exit_code(outcome), &real),
        model,
        "suspended: {rows:#?}"
    );
    model
}

#[allow(unsafe_code, reason = "takes the descriptor of an outcome")]
fn exit_code(outcome: Outcome) -> i32 {
    if let Some(pidfd) = outcome.pidfd() {
        // SAFETY: no other code owns the descriptor of an outcome.
        drop(unsafe { OwnedFd::from_raw_fd(pidfd) });
    }
    match outcome {
        Outcome::Failed { .. } => 127,
        Outcome::Died { ended: Some(Ended { status, .. }), .. } => status,
        other => panic!("{other:?}"),
    }
}

/// Adds an exit row and numbers the rows.
fn table(mut rows: Vec<Call>) -> Vec<Call> {
    let exit = number(libc::SYS_exit_group);
    rows.push(Call::new(exit, [0; 6]));
    for (n, row) in (1..).zip(&mut rows) {
        row.row = n;
    }
    rows
}

fn value(result: i64, check: Check, want: i64, store: u8) -> Call {
    let args = [bits(result), 0, 0, 0, 0, 0];
    let call = Call::new(local::VALUE, args);
    Call { check, want: bits(want), store, ..call }
}

const FREE: u8 = slot::FREE;

#[test]
fn must_stops_at_the_first_error_and_records_its_row() {
    for result in [0, 7, -1, -4095, -4096, i64::MIN, i64::MAX] {
        let first = value(result, Check::Must, 0, FREE);
        let rows = table(vec![first, value(5, Check::Must, 0, FREE + 1)]);
        let end = compare_all(&rows, b"", &[]);
        let error = (-4095..0).contains(&result);
        assert_eq!(end.failed, u32::from(error));
        assert_eq!(end.free[1], if error { 0 } else { 5 });
    }
}

#[test]
fn may_stores_an_error_and_skips_rows_after_it() {
    let last = value(6, Check::Must, 0, FREE + 2);
    for (skip, result, ran) in [(0, -1, 5), (ROW, -1, 0), (ROW, 3, 5)] {
        let first = Call { skip, ..value(result, Check::May, 0, FREE) };
        let next = value(5, Check::Must, 0, FREE + 1);
        let end = compare_all(&table(vec![first, next, last]), b"", &[]);
        assert_eq!(end.free[..3], [bits(result), ran, 6]);
    }
}

#[test]
fn exec_goes_on_after_absence_and_eacces_only() {
    for errno in 1..=133 {
        let (want, or) = errno_bits(&sys::Errno::NEXT_CANDIDATE);
        let first = value(-errno, Check::Exec, 0, FREE);
        let first = Call { want, or, ..first };
        let rows = table(vec![first, value(-2, Check::Must, 0, FREE + 1)]);
        let end = compare_suspended(&rows, b"", &[]);
        let on = matches!(errno, 2 | 20 | 13 | 19 | 116 | 110 | 36);
        assert_eq!(end.failed, if on { 2 } else { 1 }, "{errno}");
        assert_eq!(end.denied, u32::from(errno == 13));
        assert_eq!(end.free[0], bits(-errno), "its result is stored");
    }
}

#[test]
fn equal_compares_the_raw_result_errors_included() {
    for (result, want) in [(3, 3), (3, 4), (-9, -9), (1, -9), (-9, 0)] {
        let rows = table(vec![value(result, Check::Equal, want, FREE)]);
        let end = compare_all(&rows, b"", &[]);
        assert_eq!(end.failed, u32::from(result != want));
        assert_eq!(end.result, if result == want { 0 } else { result });
    }
}

#[test]
fn skip_skips_rows_if_the_result_is_wanted() {
    for (result, want, ran) in [(0, 0, 0), (1, 0, 9), (-3, -3, 0)] {
        let skip =
            Call { skip: 2 * ROW, ..value(result, Check::Skip, want, 0) };
        let rows = vec![
            skip,
            value(9, Check::Must, 0, FREE),
            value(9, Check::Must, 0, FREE + 1),
            value(4, Check::Must, 0, FREE + 2),
        ];
        let end = compare_all(&table(rows), b"", &[]);
        assert_eq!(end.free[..3], [ran, ran, 4]);
    }
    let skip = Call { skip: ROW, ..value(-3, Check::Skip, 0, 0) };
    let rows = table(vec![skip, value(9, Check::Must, 0, FREE)]);
    assert_eq!(compare_all(&rows, b"", &[]).failed, 1);
}

#[test]
fn until_ends_at_once_if_the_result_is_wanted_or_an_error() {
    for (result, failed) in [(-11, 0), (-22, 1)] {
        let rows = table(vec![value(result, Check::Until, -11, FREE)]);
        assert_eq!(compare_all(&rows, b"", &[]).failed, failed);
    }
}

/// A futex row that another thread wakes three times: the real results are
/// zeros and then EAGAIN.
#[test]
#[allow(unsafe_code, reason = "accesses the gate's word in the child's block")]
fn until_repeats_a_row_that_is_woken() {
    let wait = u64::from(libc::FUTEX_WAIT.unsigned_abs());
    let args = [u64::from(slot::GATE_ADDR), wait, 0, 0, 0, 0];
    let gate = Call::new(number(libc::SYS_futex), args);
    let gate = Call { slots: 1, check: Check::Until, store: FREE, ..gate };
    let rows = table(vec![Call { want: bits(-11), ..gate }]);
    let table = Table::new(&rows, b"", &[], &[]).unwrap();
    let mut block = Block::new();
    let at = &raw mut block.slots[usize::from(slot::GATE)];
    let at = at.expose_provenance();
    let outcome = thread::scope(|scope| {
        scope.spawn(move || {
            let at = core::ptr::with_exposed_provenance_mut::<u32>(at);
            // SAFETY: the block outlives the scope, its gate slot is aligned,
            // and all accesses to it while the child waits are atomic.
            let word = unsafe { AtomicU32::from_ptr(at) };
            let wake = [at.addr() as u64, 1, 1, 0, 0, 0];
            let mut woken = 0;
            while woken < 3 {
                // SAFETY: FUTEX_WAKE uses the word's address only.
                let n = unsafe { sys::arch::syscall(libc::SYS_futex, wake) };
                woken += n;
                thread::sleep(core::time::Duration::from_micros(50));
            }
            word.store(1, Ordering::Release);
            // SAFETY: FUTEX_WAKE uses the word's address only.
            unsafe { sys::arch::syscall(libc::SYS_futex, wake) };
        });
        suspended::launch(&table, &mut block, ARGS)
    });
    assert_eq!(exit_code(outcome), 0);
    assert_eq!(block.slot(FREE), bits(-11));
    let memory = Memory { text: b"", block_at: 0 };
    let mut script = VecDeque::from([0, 0, -4, 0, -11]);
    let mut model = Block::new();
    let mut kernel = |_, _| script.pop_front().expect("one more result");
    assert_eq!(walk(&rows, &mut model, &memory, &mut kernel), 0);
    assert_eq!(end_state(0, &model), end_state(0, &block));
}

#[test]
fn a_store_sets_its_bits_and_later_rows_read_the_slot() {
    let first = Call { or: 1 << 31, ..value(5, Check::Must, 0, FREE) };
    let args = [u64::from(FREE), 0, 0, 0, 0, 0];
    let second = Call::new(local::VALUE, args);
    let second = Call { slots: 1, store: FREE + 1, ..second };
    let end = compare_all(&table(vec![first, second]), b"", &[]);
    assert_eq!(end.free[..2], [0x8000_0005, 0x8000_0005]);
}

#[test]
fn decimal_gives_the_digits_of_any_pid() {
    for n in [0u64, 1, 9, 10, 99, 100, 4711, 4_194_304, 9_999_999] {
        let row = Call::new(local::DECIMAL, [n, 0, 0, 0, 0, 0]);
        let row = Call { store: FREE, ..row };
        let end = compare_all(&table(vec![row]), b"", &[]);
        let text = std::format!("{n}\0");
        assert!(end.free[0].to_le_bytes().starts_with(text.as_bytes()));
    }
}

#[test]
fn compare_distinguishes_equal_memory_from_unequal() {
    let text = b"groups\0groups\0groupz\0";
    let base = text.as_ptr().expose_provenance() as u64;
    for (other, len, differ) in [(7, 7, 0), (14, 7, 1), (14, 5, 0), (7, 0, 0)]
    {
        let args = [base, base + other, len, 0, 0, 0];
        let row = Call::new(local::COMPARE, args);
        let row = Call { texts: 0b11, check: Check::Equal, ..row };
        let end = compare_all(&table(vec![row]), text, &[]);
        assert_eq!((end.failed, end.result), (differ as u32, differ));
    }
}

/// Two real calls against the same results from the fake kernel.
#[test]
fn real_calls_have_the_results_that_the_model_is_given() {
    let fcntl = Call::new(number(libc::SYS_fcntl), [1 << 30, 1, 0, 0, 0, 0]);
    let fcntl = Call { check: Check::Equal, want: bits(-9), ..fcntl };
    let ppid = Call::new(number(libc::SYS_getppid), [0; 6]);
    let ppid = Call { store: FREE, ..ppid };
    let own = i64::from(std::process::id());
    let rows = table(vec![fcntl, ppid]);
    let end = compare_all(&rows, b"", &[-9, own]);
    assert_eq!(end.free[0], bits(own));
}

/// Random tables: every check, results around the limits, stores, slots and
/// skips.
#[test]
fn random_tables_end_in_the_same_state_as_in_the_model() {
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) % below
    };
    let edges = [0, 1, 5, -1, -2, -4, -11, -13, -20, -4095, -4096, i64::MAX];
    let [must, may, exec] = [Check::Must, Check::May, Check::Exec];
    let [equal, until, skip] = [Check::Equal, Check::Until, Check::Skip];
    let checks = [must, may, exec, equal, until, skip];
    for _ in 0..2000 {
        let mut rows = Vec::new();
        let len = 1 + next(12) as usize;
        for n in 0..len {
            let check = checks[next(6) as usize];
            let mut result = edges[next(12) as usize];
            let mut want = edges[next(12) as usize];
            if check == Check::Until && !(-4095..-4).contains(&result) {
                want = result;
            }
            if next(3) == 0 {
                (result, want) = (0, 0);
            }
            let store = FREE + next(8) as u8;
            let mut row = value(result, check, want, store);
            let most = if [skip, may].contains(&check) { len - n } else { 1 };
            row.skip = next(most as u64) as u16 * ROW;
            row.or = if next(4) == 0 { 1 << next(64) } else { 0 };
            if next(3) == 0 && check != Check::Until {
                row.slots = 1;
                row.args[0] = u64::from(FREE) + next(8);
            }
            rows.push(row);
        }
        compare_suspended(&table(rows), b"", &[]);
    }
}

/// `CLONE_PARENT_SETTID` and `CLONE_CHILD_SETTID` write the child's id to two
/// addresses, both only if the order of arguments is right.
#[test]
#[allow(unsafe_code, reason = "makes a child by the legacy clone")]
fn the_legacy_clone_takes_its_arguments_in_this_architecture_s_order() {
    let exit = Call::new(number(libc::SYS_exit_group), [5, 0, 0, 0, 0, 0]);
    let rows = [Call { row: 1, ..exit }];
    let table = Table::new(&rows, b"", &[], &[]).unwrap();
    let flags = CloneFlags::VM | CloneFlags::VFORK;
    let settid = 0x10_0000 | 0x100_0000;
    let mut block = Block::new();
    let mut ids = [0u32; 2];
    let at = ids.as_mut_ptr().expose_provenance() as u64;
    let args =
        sys::arch::clone_arguments(flags.bits() | settid, 0, at, at + 4, 0);
    let nr = u64::from(number(libc::SYS_clone));
    // SAFETY: clause 1 of `enter`: clone without a stack, the two words
    // live in this frame. Clauses 2 to 4: VM is set with VFORK, and the
    // table's only row reads no slot and calls no function.
    let pid = unsafe { crate::child::enter(nr, args, &table, &mut block) };
    let mut status = 0;
    // SAFETY: waits for the child made above and writes one int.
    unsafe { libc::waitpid(pid as i32, &mut status, libc::__WALL) };
    assert_eq!(libc::WEXITSTATUS(status), 5);
    assert_eq!(ids.map(i64::from), [pid; 2]);
}

/// A function in the child: its arguments, its result, and a write to the
/// address that it gets.
#[test]
#[allow(unsafe_code, reason = "the function writes a slot by its address")]
fn a_row_calls_a_function_with_its_data_and_two_arguments() {
    extern "C" fn run(data: u64, at: u64, more: u64) -> i64 {
        let at = core::ptr::with_exposed_provenance_mut::<u64>(at as usize);
        // Uses the stack, as any function may.
        let strings = core::hint::black_box([data; 40]);
        // SAFETY: the row passes the address of the mask's slot.
        unsafe { at.write(strings[7] ^ more) };
        -i64::from(strings[39] == 9) * 5
    }
    for data in [8, 9] {
        let callbacks = [Callback { run, data }];
        let at = callbacks.as_ptr().expose_provenance() as u64;
        let mask = u64::from(slot::SIGMASK_ADDR);
        let row = Call::new(local::CALLBACK, [at, mask, 0x100, 0, 0, 0]);
        let hook = Call { slots: 0b10, check: Check::Equal, ..row };
        let rows = table(vec![hook, value(6, Check::Must, 0, FREE)]);
        let table = Table::new(&rows, b"", &[], &callbacks).unwrap();
        let mut shared = Block::new();
        let outcome = suspended::launch(&table, &mut shared, ARGS);
        let mut copied = Block::new();
        let other = copied::launch(&table, &mut copied, ARGS);
        assert_eq!(exit_code(outcome), exit_code(other));
        assert_eq!(end_state(0, &shared), end_state(0, &copied));
        assert_eq!(shared.failed, u32::from(data == 9));
        assert_eq!(shared.result, if data == 9 { -5 } else { 0 });
        for block in [shared, copied] {
            assert_eq!(block.slot(slot::SIGMASK), data ^ 0x100);
        }
    }
}
