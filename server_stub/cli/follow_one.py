"""Following one target: its output as it comes, then how it ended."""

from typing import TYPE_CHECKING, Final

from server_stub.cli.live_output import LiveOutput
from server_stub.cli.outcome import ending
from server_stub.cli.resume import content, resumed
from server_stub.cli.task_answers import EndAnswer, Output, Result, ResultAnswer

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi

LAST: Final = frozenset({"result", "end"})


def follow_output(api: "OperatorApi", live: LiveOutput, task_id: str, node_id: str) -> Result | EndAnswer:
    """Prints the output until the target has ended; what it ended with. Raises ``ControlError``."""
    ended: Result | EndAnswer = EndAnswer()
    path = ("tasks", task_id, "output")
    for event in resumed(api, path, lambda: {"node": node_id, "position": live.position}, LAST, live.remark):
        if event.name == "output":
            live.piece(content(Output, event))
        elif event.name == "reset":
            live.restart()
        elif event.name == "result":
            ended = content(ResultAnswer, event).result
            live.result(ended)
        elif event.name == "end":
            ended = content(EndAnswer, event)
    live.remark(ending(task_id, node_id, ended))
    return ended


def has_succeeded(ended: Result | EndAnswer) -> bool:
    return isinstance(ended, Result) and ended.succeeded
