# The walker for x86-64. Runs in the child: no stack, no call, no libc.
#
# A macro, assembled twice: in .text, to run in this process or a copy of it,
# and in .rodata, to be copied into the helper image.
#
# r12 the row    r13 the block    r14 the row's number, from 1
# Changed by each system call: rax rcx r11
# The offsets are those of Call and Block in src/call.rs, asserted there.

    .macro offshoot_0_1_walk result, callback
.Lrow\@:
    movzx r14d, word ptr [r12 + 72]
    mov [r13], r14d             # reached
    mov rdi, [r12 + 8]
    mov rsi, [r12 + 16]
    mov rdx, [r12 + 24]
    mov r10, [r12 + 32]
    mov r8, [r12 + 40]
    mov r9, [r12 + 48]
    movzx ebx, byte ptr [r12 + 5]
    test bl, 1                  # arguments that are slot numbers
    jz 1f
    mov rdi, [r13 + rdi * 8 + 24]
1:  test bl, 2
    jz 1f
    mov rsi, [r13 + rsi * 8 + 24]
1:  test bl, 4
    jz 1f
    mov rdx, [r13 + rdx * 8 + 24]
1:  test bl, 8
    jz 1f
    mov r10, [r13 + r10 * 8 + 24]
1:  mov eax, [r12]
    test eax, eax
    js .Llocal\@
    syscall
\result:
    movzx ecx, byte ptr [r12 + 6]
    mov rdx, [r12 + 64]
    or rdx, rax
    mov [r13 + rcx * 8 + 24], rdx
    movzx edx, byte ptr [r12 + 4]
    cmp edx, 3
    jae .Lcompare\@
    cmp rax, -4095
    jb .Lnext\@
    cmp edx, 1
    je .Lwanted\@                 # may: an error skips rows
    jb .Lfail\@                   # must
    mov ecx, eax                # exec: the errnos that mean "next" are
    neg ecx                     # 128 bits, in want and or
    cmp ecx, 127
    ja .Lfail\@
    bt [r12 + 56], rcx
    jc .Lnext\@
    cmp ecx, 13                 # EACCES
    jne .Lfail\@
    mov [r13 + 8], r14d         # denied
.Lnext\@:
    add r12, 80
    jmp .Lrow\@
.Lcompare\@:
    cmp rax, [r12 + 56]
    je .Lwanted\@
    cmp edx, 4
    jb .Lfail\@                   # equal
    jne 1f
    cmp eax, -4                 # until: EINTR or success, again
    je .Lrow\@
    test rax, rax
    jns .Lrow\@
    jmp .Lfail\@
1:  cmp rax, -4095              # skip
    jb .Lnext\@
.Lfail\@:
    mov [r13 + 16], rax         # result
    mov [r13 + 4], r14d         # failed
    mov edi, 127
    mov eax, 231                # exit_group
    syscall
    mov eax, 60                 # exit, should a filter reject the first
    syscall
    ud2
.Lwanted\@:
    movzx ecx, word ptr [r12 + 74]
    add r12, rcx                # the length of rows to skip, or 0
    jmp .Lnext\@
.Llocal\@:
    and eax, 3
    jz .Lvalue\@
    cmp eax, 2
    je .Ldecimal\@
    ja \callback
    mov rcx, rdx                # compare: 0 if equal, else 1
    cmp rcx, rcx                # zero bytes are equal
    repe cmpsb                  # upwards: the ABI has the flag clear
    setne al
    jmp \result
.Ldecimal\@:                      # digits, the first in the lowest byte
    mov eax, edi
    mov ecx, 10
    xor edi, edi
1:  xor edx, edx
    div ecx
    shl rdi, 8
    lea rdi, [rdi + rdx + 48]
    test eax, eax
    jnz 1b
.Lvalue\@:
    mov rax, rdi
    jmp \result
    .endm

    .pushsection .text.offshoot, "ax", @progbits
    .balign 16
    .globl offshoot_0_1_enter
    .hidden offshoot_0_1_enter
    .type offshoot_0_1_enter, @function
# extern "C" fn(rdi: &ChildEntry) -> isize. Returns once, in the parent.
offshoot_0_1_enter:
    .cfi_startproc
    mov r9, rdi
    mov eax, [r9]               # nr
    mov rdi, [r9 + 8]
    mov rsi, [r9 + 16]
    mov rdx, [r9 + 24]
    mov r10, [r9 + 32]
    mov r8, [r9 + 48]           # table; as an argument it is unused, the tls
    mov r9, [r9 + 56]           # block
    syscall                     # a caller that runs on reuses the entry
    test rax, rax
    jz 1f
    ret
1:  mov r12, r8
    mov r13, r9
    .globl offshoot_0_1_walker
    .hidden offshoot_0_1_walker
offshoot_0_1_walker:
    offshoot_0_1_walk .Lresult_text, .Lcallback_text
    .globl offshoot_0_1_walker_end
    .hidden offshoot_0_1_walker_end
offshoot_0_1_walker_end:
# A row that calls a function, on the stack below the caller's frame, which
# ends at the address that `enter` returns to. Not part of the walker: the
# helper has no stack and no functions, so this is not copied into it.
.Lcallback_text:
    mov rax, [rdi]              # run
    mov rdi, [rdi + 8]          # data
    sub rsp, 8                  # the ABI aligns it to 16 at a call
    call rax
    add rsp, 8
    jmp .Lresult_text
    .cfi_endproc
    .size offshoot_0_1_enter, . - offshoot_0_1_enter
    .popsection

# The entry of the helper: maps the page, then runs the rows. The addresses
# are those of src/call/helper_table.rs, asserted there.
    .pushsection .rodata.offshoot, "a", @progbits
    .balign 16
    .globl offshoot_0_1_helper
    .hidden offshoot_0_1_helper
offshoot_0_1_helper:
    mov r12d, 0x410400          # rows
    mov r13d, 0x400000          # block
    mov edi, r13d
    mov esi, 4096
    mov edx, 3                  # PROT_READ | PROT_WRITE
    mov r10d, 0x11              # MAP_SHARED | MAP_FIXED
    mov r8d, [r12 - 4]          # the page's descriptor
    xor r9d, r9d
    mov eax, 9
    syscall
    cmp rax, r13
    je 1f
    mov edi, 127
    mov eax, 231
    syscall
    ud2
1:
    .globl offshoot_0_1_helper_walker
    .hidden offshoot_0_1_helper_walker
offshoot_0_1_helper_walker:
    offshoot_0_1_walk .Lresult_helper, .Lcallback_helper
.Lcallback_helper:
    .globl offshoot_0_1_helper_end
    .hidden offshoot_0_1_helper_end
offshoot_0_1_helper_end:
    .popsection
    .purgem offshoot_0_1_walk
