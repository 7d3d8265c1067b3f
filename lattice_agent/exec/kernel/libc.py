"""System calls that ``os`` does not offer in Python 3.11, through libc's syscall(2). Loads ctypes.

Every call raises OSError with the call's name as its file name, so that a message says what failed:
``[Errno 1] Operation not permitted: 'pivot_root'``.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_X86_64 = {
    "capset": 126,
    "chdir": 80,
    "clone3": 435,
    "close": 3,
    "dup3": 292,
    "execveat": 322,
    "faccessat": 269,
    "fchmod": 91,
    "fchown": 93,
    "fcntl": 72,
    "ioctl": 16,
    "keyctl": 250,
    "landlock_add_rule": 445,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mkdirat": 258,
    "mount": 165,
    "mount_setattr": 442,
    "move_mount": 429,
    "open_tree": 428,
    "openat": 257,
    "pidfd_open": 434,
    "pidfd_send_signal": 424,
    "pipe2": 293,
    "pivot_root": 155,
    "prctl": 157,
    "prlimit64": 302,
    "read": 0,
    "sched_setattr": 314,
    "seccomp": 317,
    "setgroups": 116,
    "sethostname": 170,
    "setns": 308,
    "setresgid": 119,
    "setresuid": 117,
    "setsid": 112,
    "socket": 41,
    "socketpair": 53,
    "umask": 95,
    "umount2": 166,
    "unshare": 272,
    "write": 1,
}
_GENERIC = {
    "capset": 91,
    "chdir": 49,
    "clone3": 435,
    "close": 57,
    "dup3": 24,
    "execveat": 281,
    "faccessat": 48,
    "fchmod": 52,
    "fchown": 55,
    "fcntl": 25,
    "ioctl": 29,
    "keyctl": 219,
    "landlock_add_rule": 445,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mkdirat": 34,
    "mount": 40,
    "mount_setattr": 442,
    "move_mount": 429,
    "open_tree": 428,
    "openat": 56,
    "pidfd_open": 434,
    "pidfd_send_signal": 424,
    "pipe2": 59,
    "pivot_root": 41,
    "prctl": 167,
    "prlimit64": 261,
    "read": 63,
    "sched_setattr": 274,
    "seccomp": 277,
    "setgroups": 159,
    "sethostname": 161,
    "setns": 268,
    "setresgid": 149,
    "setresuid": 147,
    "setsid": 157,
    "socket": 198,
    "socketpair": 199,
    "umask": 166,
    "umount2": 39,
    "unshare": 97,
    "write": 64,
}
NUMBERS = {"x86_64": _X86_64, "aarch64": _GENERIC}.get(os.uname().machine, {})
"""System call numbers of this architecture (unistd.h); empty on one that this package was not made for."""


class Packed:
    """A structure that a call takes a pointer to. ``bytes`` among its values stand for pointers to them ("P")."""

    __slots__ = ("format", "values")

    def __init__(self, format: str, *values: int | bytes) -> None:
        self.format = format
        self.values = values

    def offsets(self) -> list[int]:
        """Where each value is in the structure; for formats of single letters with native alignment or none."""
        order, letters = self.format[0], self.format[1:]
        return [
            struct.calcsize(order + letters[: at + 1]) - struct.calcsize(order + letters[at])
            for at in range(len(letters))
        ]

    def to_bytes(self) -> bytes:
        """The structure in this process; what it points to must stay alive until the call is over."""
        return struct.pack(
            self.format, *(_address(value) if isinstance(value, bytes) else value for value in self.values)
        )


Argument = int | bytes | ctypes.Array[ctypes.c_char] | Packed | None
Call = Callable[..., int]
"""``call``, or a recipe's, which writes the call down."""


def call(name: str, *arguments: Argument, tolerate: tuple[int, ...] = ()) -> int:
    """One system call; its result. Integers are passed as 64 bits, bytes as a pointer, None as NULL.

    Raises OSError, but for an errno that is tolerated: then the result is 0.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, f"{name} is not known on {os.uname().machine}", name)  # ENOSYS
    result = int(_libc.syscall(ctypes.c_long(number), *map(_prepared, arguments)))
    if result < 0:
        error = ctypes.get_errno()
        if error in tolerate:
            return 0
        raise OSError(error, os.strerror(error), name)
    return result


def _prepared(argument: Argument) -> ctypes.c_long | bytes | ctypes.Array[ctypes.c_char] | None:
    if isinstance(argument, int):
        return ctypes.c_long(argument)
    return argument.to_bytes() if isinstance(argument, Packed) else argument


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
