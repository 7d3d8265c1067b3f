"""Waiting for changes of tasks without asking again and again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from server_stub.errors import Refused


class Watcher:
    """What one event stream waits for. Who waits looks again afterwards, so any number of calls count as one."""

    def __init__(self) -> None:
        self._news = anyio.Event()
        self._changed = False
        self.closing: Final = anyio.Event()
        """The server stops: the stream is to end at once."""

    def ring(self, *, changed: bool = False) -> None:
        """There is something new; ``changed``: of the task itself, in the store."""
        self._changed |= changed
        self._news.set()

    async def wait(self) -> bool:
        """Until it has rung since the last wait; whether the task itself has changed."""
        await self._news.wait()
        self._news = anyio.Event()
        changed, self._changed = self._changed, False
        return changed


class TaskWatch:
    """Wakes requests that wait for a task's end, at most ``max_waiters``; beyond that nobody waits. And event streams
    that follow it, at most ``max_viewers``; one more is refused.

    The order matters: enter ``waiting`` or ``following``, then look at the task, then wait. A change between look and
    wait is not missed. For the event loop's thread only.
    """

    def __init__(self, max_waiters: int, max_viewers: int) -> None:
        self._max_waiters = max_waiters
        self._max_viewers = max_viewers
        self._events: dict[str, set[anyio.Event]] = {}
        self._waiters = 0
        self._watchers: dict[str, set[Watcher]] = {}
        self._viewers = 0
        self._closed = False

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[anyio.Event]:
        """An event that is set at the task's end, at shutdown, or at once when there are too many waiters."""
        event = anyio.Event()
        if self._closed or self._waiters >= self._max_waiters:
            event.set()
            yield event
            return
        self._waiters += 1
        self._events.setdefault(task_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiters -= 1
            waiters = self._events[task_id]
            waiters.discard(event)
            if not waiters:
                del self._events[task_id]

    @contextmanager
    def following(self, task_id: str) -> Iterator[Watcher]:
        """A watcher that rings whenever something of the task has changed. ``Refused`` 429 beyond the limit."""
        if self._viewers >= self._max_viewers:
            raise Refused(429, f"{self._max_viewers} event streams are open; close some or try again later")
        watcher = Watcher()
        if self._closed:
            watcher.closing.set()
        self._viewers += 1
        self._watchers.setdefault(task_id, set()).add(watcher)
        try:
            yield watcher
        finally:
            self._viewers -= 1
            watchers = self._watchers[task_id]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[task_id]

    def changed(self, task_ids: Iterable[str]) -> None:
        """To be called after a change of these tasks, or of a target of theirs, is in the store."""
        for task_id in task_ids:
            for watcher in self._watchers.get(task_id, ()):
                watcher.ring(changed=True)

    def ended(self, task_ids: Iterable[str]) -> None:
        """To be called after the end of these tasks is in the store; it is a change as well."""
        for task_id in task_ids:
            for event in self._events.get(task_id, ()):
                event.set()
            self.changed((task_id,))

    def close(self) -> None:
        """The server stops: everyone who waits is answered with what is known now, and event streams end."""
        self._closed = True
        self.ended(list(self._events))
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.closing.set()
