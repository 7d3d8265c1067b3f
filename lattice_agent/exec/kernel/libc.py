"""System calls that ``os`` does not offer in Python 3.11, through libc's syscall(2). Loads ctypes.

Every call raises OSError with the call's name as its file name, so that a message says what failed:
``[Errno 1] Operation not permitted: 'pivot_root'``.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_X86_64 = {
    "capset": 126,
    "clone3": 435,
    "keyctl": 250,
    "landlock_add_rule": 445,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mount": 165,
    "move_mount": 429,
    "open_tree": 428,
    "mount_setattr": 442,
    "pidfd_open": 434,
    "pidfd_send_signal": 424,
    "pivot_root": 155,
    "prctl": 157,
    "sched_setattr": 314,
    "seccomp": 317,
    "setns": 308,
    "umount2": 166,
    "unshare": 272,
}
_GENERIC = {
    "capset": 91,
    "clone3": 435,
    "keyctl": 219,
    "landlock_add_rule": 445,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mount": 40,
    "move_mount": 429,
    "open_tree": 428,
    "mount_setattr": 442,
    "pidfd_open": 434,
    "pidfd_send_signal": 424,
    "pivot_root": 41,
    "prctl": 167,
    "sched_setattr": 274,
    "seccomp": 277,
    "setns": 268,
    "umount2": 39,
    "unshare": 97,
}
NUMBERS = {"x86_64": _X86_64, "aarch64": _GENERIC}.get(os.uname().machine, {})
"""System call numbers of this architecture (unistd.h); empty on one that this package was not made for."""

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(name: str, *arguments: Argument) -> int:
    """One system call; its result. Integers are passed as 64 bits, bytes as a pointer, None as NULL."""
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, f"{name} is not known on {os.uname().machine}", name)  # ENOSYS
    prepared = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *prepared))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return result
