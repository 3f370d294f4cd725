//! ELF: small static programs, built from machine code.
#![allow(dead_code, unreachable_pub, reason = "each file uses its part")]

use std::arch::global_asm;
use std::slice;

// Exits with 0 if 0, 1, 2 and 5 are open and no other descriptor below 4096
// is, by F_GETFD; otherwise with the first wrong number or-ed with 64.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".pushsection .rodata",
    ".globl offshoot_test_census",
    "offshoot_test_census:",
    "xor ebx, ebx",
    "2: mov edi, ebx",
    "mov esi, 1",
    "mov eax, 72",
    "syscall",
    "xor ecx, ecx",
    "cmp rax, -9",
    "sete cl",
    "xor edx, edx",
    "cmp ebx, 2",
    "seta dl",
    "cmp ebx, 5",
    "jne 3f",
    "xor edx, edx",
    "3: cmp ecx, edx",
    "mov edi, ebx",
    "jne 4f",
    "inc ebx",
    "cmp ebx, 4096",
    "jb 2b",
    "xor edi, edi",
    "jmp 5f",
    "4: or edi, 64",
    "5: mov eax, 231",
    "syscall",
    ".globl offshoot_test_census_end",
    "offshoot_test_census_end:",
    ".popsection",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".pushsection .rodata",
    ".balign 4",
    ".globl offshoot_test_census",
    "offshoot_test_census:",
    "mov w19, #0",
    "2: mov w0, w19",
    "mov w1, #1",
    "mov x8, #25",
    "svc #0",
    "cmn x0, #9",
    "cset w9, eq",
    "cmp w19, #2",
    "cset w10, hi",
    "cmp w19, #5",
    "csel w10, wzr, w10, eq",
    "cmp w9, w10",
    "mov w0, w19",
    "b.ne 4f",
    "add w19, w19, #1",
    "cmp w19, #4096",
    "b.lo 2b",
    "mov w0, #0",
    "b 5f",
    "4: orr w0, w0, #64",
    "5: mov x8, #94",
    "svc #0",
    ".globl offshoot_test_census_end",
    "offshoot_test_census_end:",
    ".popsection",
);

unsafe extern "C" {
    static offshoot_test_census: u8;
    static offshoot_test_census_end: u8;
}

/// A program that exits with 0 if 0, 1, 2 and 5 are open and no other
/// descriptor is, or else with the first wrong number or-ed with 64.
pub fn census() -> Vec<u8> {
    let (from, to) =
        (&raw const offshoot_test_census, &raw const offshoot_test_census_end);
    // SAFETY: the two labels enclose the code above, which is never written.
    let code = unsafe { slice::from_raw_parts(from, to.addr() - from.addr()) };
    elf(code)
}

/// `exit_group(7)`, and a program that waits for a signal: `ppoll` of
/// nothing.
#[cfg(target_arch = "x86_64")]
const SEVEN: &[u8] = b"\xBF\x07\0\0\0\xB8\xE7\0\0\0\x0F\x05";
#[cfg(target_arch = "aarch64")]
const SEVEN: &[u8] = b"\xE0\0\x80\x52\xC8\x0B\x80\xD2\x01\0\0\xD4";
#[cfg(target_arch = "x86_64")]
const PAUSE: &[u8] = b"\x31\xFF\x31\xF6\x31\xD2\x45\x31\xD2\
    \xB8\x0F\x01\0\0\x0F\x05\xEB\xEE";
#[cfg(target_arch = "aarch64")]
const PAUSE: &[u8] = b"\0\0\x80\xD2\x01\0\x80\xD2\x02\0\x80\xD2\
    \x03\0\x80\xD2\x28\x09\x80\xD2\x01\0\0\xD4\xFA\xFF\xFF\x17";

/// A program that exits with 7 by the 32-bit call `exit`, 1: `int $0x80`.
#[cfg(target_arch = "x86_64")]
pub fn seven_of_32_bits() -> Vec<u8> {
    elf(b"\xB8\x01\0\0\0\xBB\x07\0\0\0\xCD\x80")
}

/// A program that exits with 7, and opens nothing.
pub fn seven() -> Vec<u8> {
    elf(SEVEN)
}

/// A program that waits until it is killed, and opens nothing.
pub fn pause() -> Vec<u8> {
    elf(PAUSE)
}

/// A static ELF file: header, one segment, the code.
pub fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let size = 120 + code.len() as u64;
    let mut elf = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0];
    elf.resize(16, 0);
    elf.extend([2, 0]);
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    for word in [BASE + 120, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    elf.extend(5u32.to_le_bytes());
    for word in [0, BASE, BASE, size, size, 0x1_0000] {
        elf.extend(word.to_le_bytes());
    }
    assert_eq!(elf.len(), 120);
    elf.extend(code);
    elf
}
