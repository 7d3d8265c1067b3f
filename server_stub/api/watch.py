"""Waiting for a task's end without asking again and again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import anyio


class TaskWatch:
    """Wakes requests that wait for a task. At most ``max_waiters``; beyond that nobody waits.

    The order matters: enter ``waiting``, then look at the task, then wait. An end between look and wait is not missed.
    """

    def __init__(self, max_waiters: int) -> None:
        self._max_waiters = max_waiters
        self._events: dict[str, set[anyio.Event]] = {}
        self._count = 0
        self._closed = False

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[anyio.Event]:
        """An event that is set at the task's end, at shutdown, or at once when there are too many waiters."""
        event = anyio.Event()
        if self._closed or self._count >= self._max_waiters:
            event.set()
            yield event
            return
        self._count += 1
        self._events.setdefault(task_id, set()).add(event)
        try:
            yield event
        finally:
            self._count -= 1
            waiters = self._events[task_id]
            waiters.discard(event)
            if not waiters:
                del self._events[task_id]

    def changed(self, task_ids: Iterable[str]) -> None:
        """To be called after a change of a target of these tasks is in the store."""

    def ended(self, task_ids: Iterable[str]) -> None:
        """To be called after the end of these tasks is in the store."""
        for task_id in task_ids:
            for event in self._events.get(task_id, ()):
                event.set()

    def close(self) -> None:
        """The server stops: everyone who waits is answered with what is known now."""
        self._closed = True
        self.ended(list(self._events))
