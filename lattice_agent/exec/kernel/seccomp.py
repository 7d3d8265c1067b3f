"""A prepared filter of system calls for this process and all it will start (seccomp(2), SECCOMP_SET_MODE_FILTER).

The program comes from ``filter_export`` as bytes and is installed where it lies: nothing is built or copied here.
"""

from __future__ import annotations

import errno
import os

from lattice_agent.exec.kernel import libc

INSTRUCTION_BYTES = 8
"""Size of struct sock_filter."""
INSTRUCTIONS_MOST = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""

_SET_MODE_FILTER = 1
_PROGRAM = "@HP"
"""struct sock_fprog: number of instructions, their address."""
_STATUS_BYTES = 8192


def install(program: bytes, call: libc.Call = libc.call) -> None:
    """Put the filter in force, for good: it cannot be taken away again. The process must have no_new_privs (or
    CAP_SYS_ADMIN), and everything the filter forbids must be done before.

    Raises OSError: EINVAL for a program that is not 1 to 4096 instructions long or that the kernel finds wrong, EACCES
    without no_new_privs, ENOSYS where the kernel has no seccomp filters.
    """
    count, rest = divmod(len(program), INSTRUCTION_BYTES)
    if rest or not 1 <= count <= INSTRUCTIONS_MOST:
        raise OSError(errno.EINVAL, f"a filter of {len(program)} bytes is not 1 to 4096 instructions of 8", "seccomp")
    call("seccomp", _SET_MODE_FILTER, 0, libc.Packed(_PROGRAM, count, program))


def in_force() -> bool:
    """Whether this process is filtered, as the kernel says it in /proc/self/status."""
    fd = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.read(fd, _STATUS_BYTES)
    finally:
        os.close(fd)
    return b"\nSeccomp:\t2\n" in status
