//! Floor: a clone, a list of system calls and execve, in assembly without any
//! check. The least that a spawn with these calls can cost.

use std::arch::asm;

/// A system call of the child: its number and six arguments.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call(pub(crate) [u64; 7]);

impl Call {
    pub(crate) fn new(nr: libc::c_long, args: &[u64]) -> Call {
        let mut all = [0; 7];
        all[0] = nr.unsigned_abs();
        all[1..=args.len()].copy_from_slice(args);
        Call(all)
    }
}

/// Clones by a call of two arguments; the child makes all `calls` in order,
/// the last of which is an execve, and exits with 127 if that returns. The
/// first argument of calls after an `openat` is its result where it is
/// `OPENED`.
///
/// # Safety
///
/// The call is clone or clone3 with VM and VFORK, its arguments valid. The
/// calls of the child leave the memory of this process as it is.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn enter(
    nr: u64,
    one: u64,
    two: u64,
    calls: &[Call],
) -> i64 {
    let pid;
    let end = calls.as_ptr_range().end;
    // SAFETY: the child uses registers only and never comes back.
    unsafe {
        asm!(
            "xor edx, edx", "xor r10d, r10d", "xor r8d, r8d",
            "syscall",
            "test rax, rax",
            "jnz 4f",
            "2:",
            "mov rax, [r12]",
            "mov rdi, [r12 + 8]", "mov rsi, [r12 + 16]",
            "mov rdx, [r12 + 24]", "mov r10, [r12 + 32]",
            "mov r8, [r12 + 40]", "mov r9, [r12 + 48]",
            "cmp rdi, {opened}",
            "cmove rdi, r14",
            "syscall",
            "cmp qword ptr [r12], {openat}",
            "cmove r14, rax",
            "add r12, 56",
            "cmp r12, r13",
            "jb 2b",
            "mov edi, 127", "mov eax, 231",
            "syscall",
            "4:",
            opened = const OPENED_I32,
            openat = const libc::SYS_openat,
            inlateout("rax") nr => pid,
            in("rdi") one, in("rsi") two,
            in("r12") calls.as_ptr(),
            in("r13") end,
            out("rcx") _, out("r11") _, out("rdx") _,
            out("r10") _, out("r8") _, out("r9") _, out("r14") _,
        );
    }
    pid
}

/// As on x86-64.
///
/// # Safety
///
/// As on x86-64.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn enter(
    nr: u64,
    one: u64,
    two: u64,
    calls: &[Call],
) -> i64 {
    let pid;
    let end = calls.as_ptr_range().end;
    // SAFETY: the child uses registers only and never comes back.
    unsafe {
        asm!(
            "mov x2, #0", "mov x3, #0", "mov x4, #0",
            "svc 0",
            "cbnz x0, 4f",
            "2:",
            "ldr x8, [x9]",
            "ldp x0, x1, [x9, #8]",
            "ldp x2, x3, [x9, #24]",
            "ldp x4, x5, [x9, #40]",
            "cmn x0, {closeness}",
            "csel x0, x11, x0, eq",
            "svc 0",
            "cmp x8, {openat}",
            "csel x11, x0, x11, eq",
            "add x9, x9, #56",
            "cmp x9, x10",
            "b.lo 2b",
            "mov x0, #127", "mov x8, #94",
            "svc 0",
            "4:",
            closeness = const -OPENED_I32,
            openat = const libc::SYS_openat,
            inlateout("x0") one => pid,
            in("x1") two, in("x8") nr,
            in("x9") calls.as_ptr(),
            in("x10") end,
            out("x2") _, out("x3") _, out("x4") _, out("x5") _, out("x11") _,
        );
    }
    pid
}

/// Stands for the descriptor that the last `openat` returned: no descriptor
/// and no errno.
const OPENED_I32: i32 = -4000;
pub(crate) const OPENED: u64 =
    u64::from_ne_bytes((OPENED_I32 as i64).to_ne_bytes());
