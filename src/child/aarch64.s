// The walker for aarch64. Runs in the child: no stack, no call, no libc.
//
// A macro, assembled twice: in .text, to run in this process or a copy of it,
// and in .rodata, to be copied into the helper image.
//
// x19 the row    x20 the block    x21 its slots    x22 the row's number, from 1
// Changed by each system call: x0
// The offsets are those of Call and Block in src/call.rs, asserted there.

    .macro offshoot_0_1_walk result, callback
    add x21, x20, #24
.Lrow\@:
    ldrh w22, [x19, #72]
    str w22, [x20]              // reached
    ldp x0, x1, [x19, #8]
    ldp x2, x3, [x19, #24]
    ldp x4, x5, [x19, #40]
    ldrb w9, [x19, #5]
    tbz w9, #0, 1f              // arguments that are slot numbers
    ldr x0, [x21, x0, lsl #3]
1:  tbz w9, #1, 1f
    ldr x1, [x21, x1, lsl #3]
1:  tbz w9, #2, 1f
    ldr x2, [x21, x2, lsl #3]
1:  tbz w9, #3, 1f
    ldr x3, [x21, x3, lsl #3]
1:  ldr w8, [x19]
    tbnz w8, #31, .Llocal\@
    svc #0
\result:
    ldrb w9, [x19, #6]
    ldr x10, [x19, #64]
    orr x10, x10, x0
    str x10, [x21, x9, lsl #3]
    ldrb w11, [x19, #4]
    cmp w11, #3
    b.hs .Lcompare\@
    cmn x0, #4095
    b.lo .Lnext\@
    cmp w11, #1
    b.eq .Lwanted\@               // may: an error skips rows
    b.lo .Lfail\@                 // must
    neg x12, x0                 // exec: the errnos that mean "next" are
    cmp x12, #127               // 128 bits, in want and or
    b.hi .Lfail\@
    lsr x13, x12, #6
    add x14, x19, #56
    ldr x13, [x14, x13, lsl #3]
    lsr x13, x13, x12
    tbnz w13, #0, .Lnext\@
    cmp x12, #13                // EACCES
    b.ne .Lfail\@
    str w22, [x20, #8]          // denied
.Lnext\@:
    add x19, x19, #80
    b .Lrow\@
.Lcompare\@:
    ldr x9, [x19, #56]
    cmp x0, x9
    b.eq .Lwanted\@
    cmp w11, #4
    b.lo .Lfail\@                 // equal
    b.ne 1f
    cmn x0, #4                  // until: EINTR or success, again
    b.eq .Lrow\@
    tbz x0, #63, .Lrow\@
    b .Lfail\@
1:  cmn x0, #4095               // skip
    b.lo .Lnext\@
.Lfail\@:
    str x0, [x20, #16]          // result
    str w22, [x20, #4]          // failed
    mov x0, #127
    mov x8, #94                 // exit_group
    svc #0
    mov x8, #93                 // exit, should a filter reject the first
    svc #0
    brk #1
.Lwanted\@:
    ldrh w9, [x19, #74]
    add x19, x19, x9            // the length of rows to skip, or 0
    b .Lnext\@
.Llocal\@:
    ands w8, w8, #3
    b.eq \result               // value: it is in x0
    cmp w8, #1
    b.ne .Ldecimal\@
1:  cbz x2, .Lzero\@              // compare
    ldrb w9, [x0], #1
    ldrb w10, [x1], #1
    sub x2, x2, #1
    cmp w9, w10
    b.eq 1b
    mov x0, #1
    b \result
.Lzero\@:
    mov x0, #0
    b \result
.Ldecimal\@:                      // digits, the first in the lowest byte
    cmp w8, #2
    b.ne \callback
    mov w9, w0
    mov w10, #10
    mov x0, #0
1:  udiv w11, w9, w10
    msub w12, w11, w10, w9
    add w12, w12, #48
    orr x0, x12, x0, lsl #8
    mov w9, w11
    cbnz w9, 1b
    b \result
    .endm

    .pushsection .text.offshoot, "ax", @progbits
    .balign 16
    .globl offshoot_0_1_enter
    .hidden offshoot_0_1_enter
    .type offshoot_0_1_enter, @function
// extern "C" fn(x0: &ChildEntry) -> isize. Returns once, in the parent.
offshoot_0_1_enter:
    .cfi_startproc
    hint #34                    // bti c
    mov x9, x0
    ldr w8, [x9]                // nr
    ldp x0, x1, [x9, #8]
    ldp x2, x3, [x9, #24]
    ldr x4, [x9, #40]
    ldp x10, x11, [x9, #48]     // table, block
    svc #0                      // a child whose caller runs on reads no stack
    cbz x0, 1f
    ret
1:  mov x19, x10
    mov x20, x11
    .globl offshoot_0_1_walker
    .hidden offshoot_0_1_walker
offshoot_0_1_walker:
    offshoot_0_1_walk .Lresult_text, .Lcallback_text
    .globl offshoot_0_1_walker_end
    .hidden offshoot_0_1_walker_end
offshoot_0_1_walker_end:
// A row that calls a function, on the stack below the caller's frame. Not
// part of the walker: the helper has no stack and no functions, so this is not
// copied into it.
.Lcallback_text:
    ldp x9, x0, [x0]            // run, data
    blr x9
    b .Lresult_text
    .cfi_endproc
    .size offshoot_0_1_enter, . - offshoot_0_1_enter
    .popsection

// The entry of the helper: maps the page, then runs the rows. The addresses
// are those of src/call/helper_table.rs, asserted there.
    .pushsection .rodata.offshoot, "a", @progbits
    .balign 16
    .globl offshoot_0_1_helper
    .hidden offshoot_0_1_helper
offshoot_0_1_helper:
    hint #34                    // bti c
    movz x19, #0x41, lsl #16
    add x19, x19, #0x400        // rows
    movz x20, #0x40, lsl #16    // block
    mov x0, x20
    mov x1, #4096
    mov x2, #3                  // PROT_READ | PROT_WRITE
    mov x3, #0x11               // MAP_SHARED | MAP_FIXED
    ldur w4, [x19, #-4]         // the page's descriptor
    mov x5, #0
    mov x8, #222
    svc #0
    cmp x0, x20
    b.eq 1f
    mov x0, #127
    mov x8, #94
    svc #0
    brk #1
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

// Without this note the linker turns BTI off for the whole program.
    .pushsection .note.gnu.property, "a", @note
    .balign 8
    .word 4, 16, 5
    .asciz "GNU"
    .word 0xc0000000, 4, 1, 0
    .popsection
