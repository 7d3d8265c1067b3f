"""What the probing scripts share: attempts, each with its result on a line of its own."""

import ctypes
import errno
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MACHINE = os.uname().machine


def report(name, result):
    print(f"{name}: {result}", flush=True)


def attempt(name, act, *arguments):
    """Try it; report ``works`` or the name of the errno."""
    try:
        act(*arguments)
        report(name, "works")
    except OSError as error:
        report(name, errno.errorcode.get(error.errno, error.errno))


def call(number, *arguments):
    """One system call by its number (one for all machines, or one by machine); raises OSError."""
    if isinstance(number, dict):
        number = number[MACHINE]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result
