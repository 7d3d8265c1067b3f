"""Namespaces and the processes in them: clone3(2), unshare(2), setns(2), user_namespaces(7)."""

from __future__ import annotations

import ctypes
import signal
import struct

from lattice_agent.exec.kernel import files, libc

NEWNS = 0x0002_0000
NEWCGROUP = 0x0200_0000
NEWUTS = 0x0400_0000
NEWIPC = 0x0800_0000
NEWUSER = 0x1000_0000
NEWPID = 0x2000_0000
NEWNET = 0x4000_0000
PARENT = 0x0000_8000
"""CLONE_PARENT: the child's parent is the caller's parent."""

_PIDFD = 0x0000_1000
_ARGUMENTS = struct.Struct("=11Q")
"""struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
cgroup."""


def clone(flags: int) -> tuple[int, int]:
    """Fork with namespaces: (process id, pidfd) in the parent, (0, -1) in the child. Raises OSError.

    A plain copy of this process that knows nothing of Python's fork hooks: for single-threaded callers, whose child
    does nothing but end in an exec or _exit.
    """
    pidfd = ctypes.c_int(-1)
    exit_signal = 0 if flags & PARENT else int(signal.SIGCHLD)
    pidfd_at = ctypes.addressof(pidfd)
    arguments = _ARGUMENTS.pack(flags | _PIDFD, pidfd_at, 0, 0, exit_signal, 0, 0, 0, 0, 0, 0)
    pid = libc.call("clone3", arguments, _ARGUMENTS.size)
    return (pid, pidfd.value) if pid else (0, -1)


def unshare(flags: int, call: libc.Call = libc.call) -> None:
    """Move this process into fresh namespaces."""
    call("unshare", flags)


def enter(fd: int, kind: int, call: libc.Call = libc.call) -> None:
    """Join the namespace that ``fd`` is open on; ``kind`` is its NEW* flag."""
    call("setns", fd, kind)


def map_single_ids(
    inside: tuple[int, int], outside: tuple[int, int], proc: str = "/proc", call: libc.Call = libc.call
) -> None:
    """Map one user and one group id of the parent namespace; by the process in a new user namespace itself."""
    files.write(f"{proc}/self/setgroups", "deny", call)
    files.write(f"{proc}/self/uid_map", f"{inside[0]} {outside[0]} 1", call)
    files.write(f"{proc}/self/gid_map", f"{inside[1]} {outside[1]} 1", call)
