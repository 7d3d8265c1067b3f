"""One system call, or a few, in a child of its own: with a seccomp filter or without, under outer limits.

The child has its own mount, ipc, uts and network namespaces before the filter is put on, and it stays root with every
capability: where a call then gives EPERM, the filter said it.
"""

import ctypes
import errno
import os
import resource
import select
import signal
import struct
from collections.abc import Callable

import pyseccomp

from lattice_agent.exec.kernel import seccomp

OUTER_LIMIT_S = 10
OUTER_LIMITS = (
    (resource.RLIMIT_CPU, 5),
    (resource.RLIMIT_AS, 4 << 30),
    (resource.RLIMIT_FSIZE, 64 << 20),
    (resource.RLIMIT_NOFILE, 256),
    (resource.RLIMIT_CORE, 0),
)
NEW_PLACE = 0x0002_0000 | 0x0800_0000 | 0x0400_0000 | 0x4000_0000  # mount, ipc, uts, net
MS_REC_PRIVATE = 0x4000 | 0x4_0000
PR_SET_NO_NEW_PRIVS = 38
FAILED = 2**31 - 1
"""Reported for an exception that is no OSError."""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def number_of(name: str) -> int:
    """The number of a call on this architecture."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    assert isinstance(number, int)
    assert number >= 0, name
    return number


def call(name: str | int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """One system call by name or number; raises OSError. Integers go as 64 bits."""
    prepared = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(libc.syscall(ctypes.c_long(name if isinstance(name, int) else number_of(name)), *prepared))
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def errno_of(attack: Callable[[], object], program: bytes | None) -> str:
    """How the attack ends in a child with this filter (None: with none): ``"works"`` or the name of its errno.

    Raises AssertionError when the child was killed, did not end in time, or the attack failed otherwise.
    """
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_child(attack, program, ours)
    os.close(ours)
    try:
        answered = select.select([theirs], [], [], OUTER_LIMIT_S + 5)[0]
        answer = os.read(theirs, 4) if answered else b""
    finally:
        os.close(theirs)
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    assert len(answer) == 4, f"the child said nothing and ended with {status:#x}"
    number = struct.unpack("i", answer)[0]
    assert number != FAILED, "the attack failed with an exception: see the captured output"
    return "works" if number == 0 else errno.errorcode[number]


def _be_the_child(attack: Callable[[], object], program: bytes | None, report: int) -> None:
    number = FAILED
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(OUTER_LIMIT_S)
        os.setsid()
        for limit, value in OUTER_LIMITS:
            resource.setrlimit(limit, (value, value))
        call("unshare", NEW_PLACE)
        call("mount", b"none", b"/", None, MS_REC_PRIVATE, None)
        call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if program is not None:
            seccomp.install(program)
        try:
            attack()
            number = 0
        except OSError as error:
            number = error.errno or FAILED
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os.write(report, struct.pack("i", number))
        os._exit(0)
