# The program of our hello-world image, for x86-64 Linux; it needs no library. It prints the message
# and exits 0. With one argument it sleeps until SIGTERM and exits 0. As PID 1 it needs a handler for
# that: PID 1 ignores signals that it does not handle.
#
#     as hello.s -o hello.o && ld -Ttext 0x400000 --oformat binary hello.o -o hello
#
# The file is part of the image's id, so the bytes stay. The headers are data, not ld's.
.intel_syntax noprefix
.globl _start
.set base, 0x400000

header:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1              # 64 bits, little endian
    .zero 9
    .word 2, 62                                     # an executable, x86-64
    .long 1
    .quad _start, segment - header, 0
    .long 0
    .word 64, 56, 1, 0, 0, 0                        # one program header, no section
segment:
    .long 1, 5                                      # loaded; readable and executable
    .quad 0, base, base, end - header, end - header, 0x1000

_start:
    cmp dword ptr [rsp], 2                          # argc
    jl write
    mov eax, 13                                     # rt_sigaction
    mov edi, 15                                     # SIGTERM
    mov esi, offset action
    xor edx, edx
    mov r10d, 8                                     # size of the mask
    syscall
again:
    mov eax, 34                                     # pause
    syscall
    jmp again
write:
    mov eax, 1                                      # write
    mov edi, 1                                      # standard output
    mov esi, offset message
    mov edx, offset action - message
    syscall
leave:
    xor edi, edi
    mov eax, 60                                     # exit
    syscall
message:
    .ascii "\nHello from Docker!\n"
    .ascii "This message shows that your installation appears to be working correctly.\n\n"
    .ascii "It was printed by the hello-world image of the docker-lxc-gate lab.\n"
# struct kernel_sigaction: handler, flags, restorer, mask. The handler never returns, but x86-64
# refuses to deliver a signal without a restorer.
action:
    .quad leave, 0x04000000, leave, 0
end:
