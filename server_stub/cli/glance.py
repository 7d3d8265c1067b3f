"""A look at a task or one of its targets as it is now, through the first event of the streams that --follow listens to.

Unlike the plain request for a task, they never carry all results at once, which could be more than an answer may be.
"""

from contextlib import closing
from time import monotonic
from typing import TYPE_CHECKING, Final

from server_stub.cli.api import EXCHANGE_S
from server_stub.cli.errors import UnavailableError
from server_stub.cli.event_stream import Event
from server_stub.cli.resume import content
from server_stub.cli.task_answers import Task

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi, Params, Path

_TASK: Final = frozenset({"task", "end"})
_TARGET_END: Final = frozenset({"result", "end"})


def task_now(api: "OperatorApi", task_id: str) -> Task:
    """With its targets, without results. Raises ``ControlError``."""
    return content(Task, _first(api, ("tasks", task_id, "events"), {}, _TASK))


def target_end(api: "OperatorApi", task_id: str, node_id: str) -> Event:
    """``result`` or ``end`` of a target that has ended. Raises ``ControlError``."""
    return _first(api, ("tasks", task_id, "output"), {"node": node_id}, _TARGET_END)


def _first(api: "OperatorApi", path: "Path", params: "Params", names: frozenset[str]) -> Event:
    with closing(api.listen(path, params, monotonic() + EXCHANGE_S)) as events:
        for event in events:
            if event.name in names:
                return event
    raise UnavailableError("the server ends the stream of events early")
