"""Waiting for the end of a task by long poll.

The server holds each answer back until the task ended or ``POLL_S`` have passed. Three things can go on for ever and
are bounded here: a task whose node never comes back (``FOLLOW_S``), a server that is being restarted (``OUTAGE_S`` of
failures in a row), and a server that answers at once although asked to wait (``PAUSE_S`` between two questions).
"""

from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from server_stub.cli.answers import read
from server_stub.cli.errors import TryLaterError, UnavailableError
from server_stub.cli.task_answers import TaskAnswer
from server_stub.errors import ControlError

if TYPE_CHECKING:
    from server_stub.cli.api import Answer, OperatorApi

POLL_S: Final = 30
PAUSE_S: Final = 1.0
OUTAGE_S: Final = 60.0
FOLLOW_S: Final = 3600.0


def wait_for_end(api: "OperatorApi", task_id: str) -> "Answer":
    """The answer that shows the task ended.

    Raises ``TryLaterError`` at the end of ``FOLLOW_S`` and the last failure at the end of ``OUTAGE_S``; the task goes
    on in both cases, and the error says how to look at it.
    """
    start = last_answer = monotonic()
    while True:
        asked = monotonic()
        if asked - start >= FOLLOW_S:
            raise TryLaterError(f"task {task_id} has not ended after {FOLLOW_S:.0f} s", hint=later(task_id))
        try:
            answer = api.get(("tasks", task_id), wait_s=POLL_S)
        except (UnavailableError, TryLaterError) as error:
            if monotonic() - last_answer >= OUTAGE_S:
                raise given_up(error, task_id) from None
        else:
            if read(TaskAnswer, answer).task.ended:
                return answer
            last_answer = monotonic()
        sleep(max(0.0, PAUSE_S - (monotonic() - asked)))


def given_up(error: ControlError, task_id: str) -> ControlError:
    """The error, with the way to the task as its next step."""
    return type(error)(str(error), hint=later(task_id))


def later(task_id: str) -> str:
    """The next step after a wait that ended before the task."""
    return f"the task goes on; see it with lattice-control task show {task_id}"
