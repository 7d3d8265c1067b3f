"""Processes that have lost whoever started them: the kernel gives them to the nearest subreaper, which is this one."""

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path

import prctl

from tests.hostile.rig import alive


class Orphans:
    """Made by ``adopted``."""

    def __init__(self) -> None:
        self._strangers = _children()

    def living(self, ours: Set[int]) -> list[int]:
        """Those that are alive; the dead are reaped. ``ours``: children that we have started ourselves."""
        return [pid for pid in _children() - self._strangers - ours if not _reaped(pid) and alive(pid)]


@contextmanager
def adopted() -> Iterator[Orphans]:
    """While this lasts, every orphan below this process comes to it."""
    before = prctl.get_child_subreaper()
    prctl.set_child_subreaper(1)
    try:
        yield Orphans()
    finally:
        prctl.set_child_subreaper(before)


def _children() -> set[int]:
    """Of every thread of this process."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return True
