"""The processes of one task, seen from outside: the kernel's word for when the last of them is gone."""

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def marked(task_id: str) -> set[int]:
    """Processes that carry the task's id in the environment they were executed with, or forked with. Zombies do not:
    they have no environment any more."""
    wanted = f"LATTICE_TASK_ID={task_id}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                if wanted in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.add(int(entry))
    return found


class Tree:
    """What is alive of a task. Their ends come by pidfd; what was forked meanwhile is found by looking again."""

    def __init__(self, task_id: str) -> None:
        self._task_id = task_id
        self._alive: dict[int, int] = {}
        self._poll = select.poll()
        self.seen: set[int] = set()

    def look(self) -> bool:
        """Whether anything is alive."""
        found = marked(self._task_id)
        for pid in found - self._alive.keys():
            with suppress(ProcessLookupError):
                self._alive[pid] = os.pidfd_open(pid)
                self._poll.register(self._alive[pid], select.POLLIN)
        self.seen |= found
        return bool(found)

    def wait_gone(self, seconds: float) -> float:
        """Monotonic time at which nothing was alive: the end of the first look that found nothing, while the one after
        it found nothing either. The last process has ended some milliseconds before, at most one look."""
        deadline = time.monotonic() + seconds
        while True:
            self._wait_for_known(deadline)
            if not self.look():
                gone = time.monotonic()
                if not self.look():
                    return gone

    def _wait_for_known(self, deadline: float) -> None:
        while self._alive:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"processes of {self._task_id} do not end: {sorted(self._alive)}")
            ended = {descriptor for descriptor, _ in self._poll.poll(remaining * 1000)}
            for pid in [pid for pid, descriptor in self._alive.items() if descriptor in ended]:
                self._forget(pid)

    def close(self) -> None:
        for pid in list(self._alive):
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        descriptor = self._alive.pop(pid)
        self._poll.unregister(descriptor)
        os.close(descriptor)


@contextmanager
def tree_of(task_id: str) -> Iterator[Tree]:
    tree = Tree(task_id)
    try:
        tree.look()
        yield tree
    finally:
        tree.close()
