"""Which descriptors a process keeps (close_range(2), through os.closerange)."""

from __future__ import annotations

import fcntl
import os

LAST_FD = 0x7FFF_FFFF
"""close_range(2) takes any upper bound and looks only at descriptors that are open."""


def keep_only(keep: set[int]) -> None:
    """Close every descriptor that is not in ``keep``."""
    start = 0
    for fd in sorted(keep):
        if fd > start:  # CPython 3.11 takes an empty range for "everything"
            os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, LAST_FD)


def place(sources: tuple[int, ...]) -> None:
    """Make descriptors 0, 1, 2, ... copies of ``sources``, inheritable over exec.

    The sources are first copied out of the way, so that their present numbers don't matter.
    """
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, len(sources)) for fd in sources]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
