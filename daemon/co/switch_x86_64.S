/*
 * co_switch() for the System V ABI: pushes the six callee-saved registers, changes the stack
 * pointer, pops them. It ends with pop and jmp: the return address belongs to another call, which a
 * ret would mispredict (9 ns against 3). There is no .note.gnu.property on purpose: a jump that
 * leaves a frame does not work with a shadow stack, and without the note the linker makes none.
 *
 * A parked context, from the saved stack pointer up: r15 r14 r13 r12 rbx rbp rip.
 */
        .text

        .globl  co_switch
        .hidden co_switch
        .type   co_switch, @function
        .p2align 4
co_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)
        movl    %edx, %eax
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   co_switch, . - co_switch

/*
 * Where a new context begins: r13 is fn, r12 its argument. A jump, not a call: the processor's stack of
 * return addresses then has one entry less that no return matches. Unwinding ends at the 0 in its place.
 */
        .type   co_switch_entry, @function
        .p2align 4
co_switch_entry:
        .cfi_startproc
        .cfi_undefined rip
        endbr64
        movq    %r12, %rdi
        pushq   $0
        .cfi_adjust_cfa_offset 8
        jmp     *%r13
        .cfi_endproc
        .size   co_switch_entry, . - co_switch_entry

/* base is not needed: the stack has no other limit than its guard. */
        .globl  co_switch_make
        .hidden co_switch_make
        .type   co_switch_make, @function
        .p2align 4
co_switch_make:
        .cfi_startproc
        endbr64
        leaq    -56(%rsi), %rax
        leaq    co_switch_entry(%rip), %r8
        xorl    %r9d, %r9d
        movq    %r9, (%rax)
        movq    %r9, 8(%rax)
        movq    %rdx, 16(%rax)
        movq    %rcx, 24(%rax)
        movq    %r9, 32(%rax)
        movq    %r9, 40(%rax)
        movq    %r8, 48(%rax)
        ret
        .cfi_endproc
        .size   co_switch_make, . - co_switch_make

        .section .note.GNU-stack, "", @progbits
