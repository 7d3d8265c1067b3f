"""What the probing scripts share: attempts, each in a process of its own and with its result on a line of its own."""

import ctypes
import errno
import os
import sys
import traceback

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MACHINE = os.uname().machine
BROKEN = 255


def report(name, result):
    print(f"{name}: {result}", flush=True)


def attempt(name, act, *arguments):
    """Try it in a child; report ``works``, the name of the errno, or the signal that ended the child."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = BROKEN
        try:
            act(*arguments)
            status = 0
        except OSError as error:
            status = error.errno or BROKEN
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        report(name, f"signal {-status}")
    else:
        report(name, {0: "works", BROKEN: "broken"}.get(status) or errno.errorcode[status])


def call(number, *arguments):
    """One system call, by its number here or by a pair of numbers (x86-64, arm64); raises OSError."""
    if isinstance(number, tuple):
        number = number[MACHINE != "x86_64"]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result
