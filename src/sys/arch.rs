//! One system call, by the instruction of each architecture.
#![allow(unsafe_code, reason = "a system call is an instruction")]

use core::arch::asm;

/// Returns the legacy clone's arguments in this architecture's order: the last
/// two are swapped between x86-64 and aarch64.
pub(crate) const fn clone_arguments(
    flags: u64,
    stack: u64,
    parent_tid: u64,
    child_tid: u64,
    tls: u64,
) -> [u64; 5] {
    if cfg!(target_arch = "x86_64") {
        [flags, stack, parent_tid, child_tid, tls]
    } else {
        [flags, stack, parent_tid, tls, child_tid]
    }
}

/// Makes system call `nr` and returns the result register: -4095 to -1 is an
/// error.
///
/// # Safety
///
/// Clause 1: the caller guarantees that the effect of the call is sound, and
/// that every argument that the kernel takes as an address is valid for as many
/// bytes and as long as the call reads or writes there.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) unsafe fn syscall(nr: i64, args: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the caller guarantees clause 1; the instruction itself changes
    // rax, rcx and r11 and does not use the stack, as declared.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes system call `nr` and returns the result register: -4095 to -1 is an
/// error.
///
/// # Safety
///
/// Clause 1: the caller guarantees that the effect of the call is sound, and
/// that every argument that the kernel takes as an address is valid for as many
/// bytes and as long as the call reads or writes there.
#[cfg(target_arch = "aarch64")]
#[inline]
pub(crate) unsafe fn syscall(nr: i64, args: [u64; 6]) -> i64 {
    let result;
    // SAFETY: the caller guarantees clause 1; the instruction itself changes
    // x0 and does not use the stack, as declared.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") args[0] => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3],
            in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    result
}
