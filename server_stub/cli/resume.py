"""Streams of events that outlive their connections.

A connection can break, and the server can be restarted, while a task goes on. A stream that ends without its last
event is asked for again from where it was, after a pause that grows and is jittered. Bounded are an outage
(``OUTAGE_S`` without a connection) and the whole (``FOLLOW_S``); the task goes on in
both cases, and the error says how to look at it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from random import uniform
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from server_stub.cli.answers import A, read
from server_stub.cli.errors import AnswerError, TryLaterError, UnavailableError
from server_stub.cli.event_stream import OPENED, Event
from server_stub.cli.follow import FOLLOW_S, OUTAGE_S, given_up, later
from server_stub.cli.task_answers import Task
from server_stub.errors import ControlError

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi, Params, Path

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
_TASK_END: Final = frozenset({"end"})
_TASK_STATES: Final = frozenset({"task", "end"})


def resumed(
    api: "OperatorApi", path: "Path", params: Callable[[], "Params"], last: frozenset[str], told: Callable[[str], None]
) -> Iterator[Event]:
    """Every event to the first whose name is in ``last``; ``path`` is below a task: ``("tasks", id, ...)``.

    ``params`` is asked for each connection and says from where to go on. ``told`` gets a line for people when the
    server cannot be reached, once for each outage.
    """
    task_id, started, outage = path[1], monotonic(), _Outage(told)
    while True:
        connected = monotonic()
        failure: ControlError = UnavailableError("the server ends the stream of events early")
        try:
            with closing(api.listen(path, params(), started + FOLLOW_S)) as events:
                for event in events:
                    outage.over()
                    if event.name == OPENED:
                        continue
                    yield event
                    if event.name in last:
                        return
        except (UnavailableError, TryLaterError) as error:
            failure = error
        now = monotonic()
        if now - started >= FOLLOW_S:
            raise TryLaterError(f"task {task_id} has not ended after {FOLLOW_S:.0f} s", hint=later(task_id))
        if outage.lasts(failure, now) >= OUTAGE_S:
            raise given_up(failure, task_id)
        sleep(outage.pause_s(lived=now - connected))


class _Outage:
    """The time without a connection: how long it lasts, whether it was told, how long to wait for the next attempt."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._since: float | None = None
        self._failures = 0
        self._pause = FIRST_PAUSE_S

    def over(self) -> None:
        self._since, self._failures = None, 0

    def lasts(self, failure: ControlError, now: float) -> float:
        """Seconds. Told at the second failure: a break that the next attempt mends is nobody's business."""
        self._since = now if self._since is None else self._since
        self._failures += 1
        if self._failures == 2:
            self._told(f"{failure}; trying again for {OUTAGE_S:.0f} s")
        return now - self._since

    def pause_s(self, *, lived: float) -> float:
        """Grows also with connections that open and end at once, or such a server would be hammered."""
        if lived >= LONGEST_PAUSE_S and self._failures == 1:
            self._pause = FIRST_PAUSE_S
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE_S)
        return pause * uniform(0.5, 1.0)  # noqa: S311 - spreads clients, guards nothing


def task_states(api: "OperatorApi", task_id: str, told: Callable[[str], None]) -> Iterator[Task]:
    """The task after each change, with its targets and without results; the last one has ended."""
    for event in resumed(api, ("tasks", task_id, "events"), dict, _TASK_END, told):
        if event.name in _TASK_STATES:  # others are of a newer server
            yield content(Task, event)


def content(model: type[A], event: Event) -> A:
    """The JSON of an event as its model; ``AnswerError``."""
    try:
        document = json.loads(event.data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, Mapping):
        raise AnswerError(f"the event {event.name!a} holds no JSON object")
    return read(model, document)
