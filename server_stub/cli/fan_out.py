"""Following a task on several nodes: a heading and the output of each as it ends, a bar for the rest, a summary."""

from typing import TYPE_CHECKING, Final

from server_stub.cli.errors import AnswerError, RequestRefusedError, TryLaterError, UnavailableError
from server_stub.cli.glance import target_end
from server_stub.cli.outcome import show_streams, verdict
from server_stub.cli.progress import Progress
from server_stub.cli.resume import content, task_states
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import Result, ResultAnswer, Target, Task
from server_stub.cli.text import visible

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi

_REPORTED: Final = "reported"


def follow_targets(api: "OperatorApi", screen: Screen, task_id: str) -> Task:
    """The task as it ended. Raises ``ControlError``."""
    progress = Progress(screen)
    shown: set[str] = set()
    task = Task(id=task_id)

    def told(line: str) -> None:
        with progress.aside():
            screen.remark(line)

    for task in task_states(api, task_id, told):
        ended = [target for target in task.targets if target.ended and target.node_id not in shown]
        shown |= {target.node_id for target in ended}
        for target in ended:
            with progress.aside():
                _show_end(api, screen, task_id, target)
        progress.show(task.targets)
    with progress.aside():
        return task


def _show_end(api: "OperatorApi", screen: Screen, task_id: str, target: Target) -> None:
    """One request for each target that has a result: all results in one answer could be larger than any answer may."""
    try:
        result = _result_of(api, task_id, target.node_id) if target.state == _REPORTED else None
    except (AnswerError, RequestRefusedError, TryLaterError, UnavailableError) as error:
        result = None
        hint = f"lattice-control task output {visible(task_id)} --node {visible(target.node_id)}"
        screen.remark(f"the output of {visible(target.node_id)} did not come ({error}); try {hint}")
    screen.lines([f"== {visible(target.node_id)}: {verdict(result) if result else visible(target.words)}"])
    if result is not None:
        show_streams(screen, result)


def _result_of(api: "OperatorApi", task_id: str, node_id: str) -> Result | None:
    event = target_end(api, task_id, node_id)
    return content(ResultAnswer, event).result if event.name == "result" else None
