"""Fill memory that is handed from process to process: each shares it with a child and ends (clone with CLONE_VM).

Whoever lists the processes and then looks at them one by one finds those of the list dead.
"""

import ctypes
import mmap
import os
import platform
import time

GOAL = 400 << 20
PAGES_EACH = 256

CODE = bytes.fromhex(
    "49 89 fc"  # mov r12, rdi        the memory
    "49 89 f5"  # mov r13, rsi        pages to fill
    "49 89 d6"  # mov r14, rdx        pages for each process
    "4d 89 f7"  # next: mov r15, r14
    "41 c6 04 24 01"  # fill: mov byte [r12], 1
    "49 81 c4 00 10 00 00"  # add r12, 4096
    "49 ff cd"  # dec r13
    "74 28"  # jz hold
    "49 ff cf"  # dec r15
    "75 ea"  # jnz fill
    "b8 38 00 00 00"  # mov eax, 56   clone
    "bf 11 01 00 00"  # mov edi, CLONE_VM | SIGCHLD
    "31 f6"  # xor esi, esi        the same stack, which nobody uses
    "31 d2"  # xor edx, edx
    "4d 31 d2"  # xor r10, r10
    "4d 31 c0"  # xor r8, r8
    "0f 05"  # syscall
    "85 c0"  # test eax, eax
    "74 cd"  # jz next
    "b8 3c 00 00 00"  # mov eax, 60   exit
    "31 ff"  # xor edi, edi
    "0f 05"  # syscall
    "b8 22 00 00 00"  # hold: mov eax, 34   pause
    "0f 05"  # syscall
    "eb f7"  # jmp hold
)

if os.fork() == 0:
    code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(CODE)
    memory = mmap.mmap(-1, GOAL, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)(start)
    run(ctypes.addressof(ctypes.c_char.from_buffer(memory)), GOAL // 4096, PAGES_EACH)
time.sleep(1.5)
assert platform.machine() == "x86_64"
