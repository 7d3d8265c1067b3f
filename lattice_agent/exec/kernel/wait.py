"""Flags of wait4(2) and waitid(2) that ``os`` does not name."""

from __future__ import annotations

import os

_WALL = 0x4000_0000
"""__WALL: also children made by clone(2) with another exit signal than SIGCHLD, which a plain wait overlooks."""

ANY_CHILD = os.WNOHANG | _WALL
"""For wait4(-1, ...): whoever is dead, without waiting. ECHILD then means that there is no child of any kind."""
ANY_CHANGE = os.WEXITED | os.WSTOPPED | os.WNOHANG | _WALL
"""For waitid(P_ALL, ...): whoever ended or was stopped."""


def is_child(pid: int) -> bool:
    """Whether the process is a child of ours that was not reaped yet, alive or dead: then its id is its own."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return False
    return True
