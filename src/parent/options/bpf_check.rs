//! BPF check: what the kernel requires of the instructions of a seccomp filter
//! (`bpf_check_classic` and `seccomp_check_filter`).

use crate::parent::command::SockFilter;
use crate::parent::std::{vec, vec::Vec};

/// `BPF_MAXINSNS`.
pub(super) const MOST: usize = 4096;

/// The scratch memory: sixteen words.
const WORDS: u32 = 16;

/// `sizeof(struct seccomp_data)`.
const DATA: u32 = 64;

/// Operations, as the kernel's names have them: class, size or operation, and
/// mode or source.
mod op {
    pub(super) const LOAD_ABSOLUTE: u16 = 0x20;
    pub(super) const LOAD_LENGTH: u16 = 0x80;
    pub(super) const LOAD_IMMEDIATE: u16 = 0x00;
    pub(super) const LOAD_WORD: u16 = 0x60;
    pub(super) const LOADX_LENGTH: u16 = 0x81;
    pub(super) const LOADX_IMMEDIATE: u16 = 0x01;
    pub(super) const LOADX_WORD: u16 = 0x61;
    pub(super) const STORE: u16 = 0x02;
    pub(super) const STOREX: u16 = 0x03;
    pub(super) const DIVIDE_K: u16 = 0x34;
    pub(super) const SHIFT_LEFT_K: u16 = 0x64;
    pub(super) const SHIFT_RIGHT_K: u16 = 0x74;
    pub(super) const NEGATE: u16 = 0x84;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const RETURN_K: u16 = 0x06;
    pub(super) const RETURN_A: u16 = 0x16;
    pub(super) const TAX: u16 = 0x07;
    pub(super) const TXA: u16 = 0x87;
    /// ADD, SUB, MUL, DIV, OR, AND, LSH, RSH and XOR, with K or X.
    pub(super) const ARITHMETIC: [u16; 18] = [
        0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3C, 0x44, 0x4C, 0x54,
        0x5C, 0x64, 0x6C, 0x74, 0x7C, 0xA4, 0xAC,
    ];
    /// JEQ, JGT, JGE and JSET, with K or X.
    pub(super) const BRANCHES: [u16; 8] =
        [0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D];
}

/// Returns why the kernel would reject a program, and the instruction,
/// counted from 0.
pub(super) fn check(
    program: &[SockFilter],
) -> Result<(), (usize, &'static str)> {
    for (n, instruction) in program.iter().enumerate() {
        // How many instructions follow.
        let left = program.len() - n - 1;
        check_one(*instruction, left).map_err(|why| (n, why))?;
    }
    let returns =
        |last: &SockFilter| [op::RETURN_K, op::RETURN_A].contains(&last.code);
    if !program.last().is_some_and(returns) {
        let last = program.len().saturating_sub(1);
        return Err((last, "the last instruction is not a return"));
    }
    check_memory(program).map_err(|n| {
        (n, "it reads a word of memory that may not have been written")
    })
}

fn check_one(
    instruction: SockFilter,
    left: usize,
) -> Result<(), &'static str> {
    let SockFilter { code, jt, jf, k } = instruction;
    let holds = |condition, why| if condition { Ok(()) } else { Err(why) };
    match code {
        op::LOAD_ABSOLUTE => holds(
            k % 4 == 0 && k < DATA,
            "it reads outside seccomp_data, or no whole word of it",
        ),
        op::STORE | op::STOREX | op::LOAD_WORD | op::LOADX_WORD => {
            holds(k < WORDS, "the memory has sixteen words")
        }
        op::DIVIDE_K => holds(k != 0, "it divides by zero"),
        op::SHIFT_LEFT_K | op::SHIFT_RIGHT_K => {
            holds(k < 32, "it shifts by more than 31 bits")
        }
        op::JUMP => {
            let inside = usize::try_from(k).is_ok_and(|k| k < left);
            holds(inside, "it jumps behind the last instruction")
        }
        _ if op::BRANCHES.contains(&code) => {
            let inside = usize::from(jt.max(jf)) < left;
            holds(inside, "it jumps behind the last instruction")
        }
        op::LOAD_LENGTH
        | op::LOAD_IMMEDIATE
        | op::LOADX_LENGTH
        | op::LOADX_IMMEDIATE
        | op::NEGATE
        | op::RETURN_K
        | op::RETURN_A
        | op::TAX
        | op::TXA => Ok(()),
        _ => holds(
            op::ARITHMETIC.contains(&code),
            "a seccomp filter cannot have this operation",
        ),
    }
}

/// Whether each word of the scratch memory is written before it is read, on
/// every way to the instruction. Jumps go forward only and have been checked.
fn check_memory(program: &[SockFilter]) -> Result<(), usize> {
    let mut ways: Vec<u16> = vec![u16::MAX; program.len() + 1];
    let mut written = 0u16;
    for (n, instruction) in program.iter().enumerate() {
        let SockFilter { code, jt, jf, k } = *instruction;
        let word = 1u16.checked_shl(k).unwrap_or_default();
        written &= ways.get(n).copied().unwrap_or_default();
        let mut jump = |skipped: usize| {
            if let Some(way) = ways.get_mut(n + 1 + skipped) {
                *way &= written;
            }
        };
        match code {
            op::STORE | op::STOREX => written |= word,
            op::LOAD_WORD | op::LOADX_WORD if written & word == 0 => {
                return Err(n);
            }
            op::JUMP => {
                jump(usize::try_from(k).unwrap_or(usize::MAX));
                written = u16::MAX;
            }
            _ if op::BRANCHES.contains(&code) => {
                jump(jt.into());
                jump(jf.into());
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
