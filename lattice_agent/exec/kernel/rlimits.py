"""Resource limits of the script (setrlimit(2)), by the numbers that cross the socket."""

from __future__ import annotations

import resource

INFINITY = 2**64 - 1
"""How "unlimited" is written in a message (RLIM_INFINITY as an unsigned number)."""

ALLOWED = frozenset(
    {
        resource.RLIMIT_CPU,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_NPROC,
        resource.RLIMIT_AS,
        resource.RLIMIT_DATA,
        resource.RLIMIT_CORE,
    }
)


def apply(number: int, soft: int, hard: int) -> None:
    """Set one limit of this process, best effort (protocol 3.4).

    Without CAP_SYS_RESOURCE a hard limit can only fall, so the present one bounds what is asked for.
    """
    try:
        resource.setrlimit(number, lowered(number, soft, hard))
    except (OSError, ValueError):
        return


def lowered(number: int, soft: int, hard: int) -> tuple[int, int]:
    """What of the limit can be set by this process, and by what it starts."""
    present = resource.getrlimit(number)[1]
    return _lower(soft, present), _lower(hard, present)


def as_unsigned(value: int) -> int:
    """As the kernel has it: Python's "unlimited" is -1."""
    return value & INFINITY


def _lower(asked: int, present: int) -> int:
    if asked == INFINITY:
        return present
    return asked if present == resource.RLIM_INFINITY else min(asked, present)
