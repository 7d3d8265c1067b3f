"""``task cancel``: end a task, queued or running, everywhere or on one node."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from server_stub.cli.answers import read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.following import NOT_SUCCEEDED, interruptible
from server_stub.cli.resume import task_states
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import Target, Task, TaskAnswer
from server_stub.cli.text import visible

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi

_LOST: Final = "lost"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", type=identifier, help="id of the task")
    parser.add_argument("--node", metavar="NODE", type=identifier, help="only on this node; everywhere if left out")
    parser.add_argument("--wait", action="store_true", help="until every node has confirmed it; says what it killed")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("tasks", args.task, "cancel"), {"node": args.node} if args.node else {})
        if args.json and not args.wait:
            screen.document(answer)
            return os.EX_OK
        task = read(TaskAnswer, answer).task
        if not args.wait:
            screen.lines(_asked(task, args.node))
            return os.EX_OK
        task = _confirmed(api, screen, task.id, args)
        if args.json:
            screen.document(api.get(("tasks", args.task)))
    return NOT_SUCCEEDED if any(target.outcome == _LOST for target in _meant(task, args.node)) else os.EX_OK


def _meant(task: Task, node: str | None) -> list[Target]:
    return [target for target in task.targets if node in (None, target.node_id)]


def _asked(task: Task, node: str | None) -> list[str]:
    """What is so now: queued targets are cancelled at once, the others by their nodes."""
    shown = visible(task.id)
    stopping = [target for target in _meant(task, node) if not target.ended]
    if not stopping:
        return [f"task {shown} is cancelled" + (f" on {visible(node)}" if node else "")]
    places = visible(stopping[0].node_id) if len(stopping) == 1 else f"{len(stopping)} nodes"
    return [f"task {shown} is being stopped on {places}; see it with lattice-control task show {shown}"]


def _confirmed(api: "OperatorApi", screen: Screen, task_id: str, args: argparse.Namespace) -> Task:
    """The task once every target that was meant has ended; each is told as it ends."""
    task = Task(id=task_id)
    told: set[str] = set()
    with interruptible(screen, screen.remark, task_id):
        for task in task_states(api, task_id, screen.remark):
            ended = [target for target in _meant(task, args.node) if target.ended and target.node_id not in told]
            told |= {target.node_id for target in ended}
            if not args.json:
                screen.lines(f"{visible(target.node_id)}: {visible(target.words)}" for target in ended)
                screen.out.flush()
            if all(target.ended for target in _meant(task, args.node)):
                break
    return task


COMMAND = Command(
    words=("task", "cancel"),
    summary="cancel a task, queued or running",
    details=(
        "Nodes that have not taken it do not get it. On a node that runs it, the script gets SIGTERM, after the grace "
        "SIGKILL, and so does whatever it has started; the node then confirms what was killed and how long it took. A "
        "script that ended before the node heard of it keeps its own outcome. Exit codes: 0 when it is asked for (with "
        "--wait: confirmed), 65 if the task has ended already, 1 if --wait ends with a node that never confirmed it."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
