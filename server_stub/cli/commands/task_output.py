"""``task output``: what a script printed on one node, or prints."""

import argparse
import json
import os
from typing import TYPE_CHECKING

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.errors import RequestRefusedError, TryLaterError
from server_stub.cli.following import add_colour_argument, follow_one
from server_stub.cli.live_output import LiveOutput
from server_stub.cli.outcome import ending
from server_stub.cli.resume import content
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import ResultAnswer, Target, Task
from server_stub.cli.text import visible

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", type=identifier, help="id of the task")
    parser.add_argument(
        "--node", metavar="NODE", type=identifier, help="id of the node; needed if the task has several"
    )
    parser.add_argument("--follow", action="store_true", help="print the output of a running script while it comes")
    add_colour_argument(parser)


def _run(args: argparse.Namespace, screen: Screen) -> int:
    from server_stub.cli.glance import task_now

    with connect(args) as api:
        target = _target(task_now(api, args.task), args.node)
        if args.follow and not args.json:
            return follow_one(api, screen, args.task, target.node_id, args.color)
        return _show(api, args, screen, target)


def _target(task: Task, node: str | None) -> Target:
    targets = [target for target in task.targets if node in (None, target.node_id)]
    if not targets:
        raise RequestRefusedError(
            f"task {task.id} is not for node {node}", hint=f"see its nodes with lattice-control task show {task.id}"
        )
    if len(targets) > 1:
        raise RequestRefusedError(f"task {task.id} is for {len(targets)} nodes", hint="choose one with --node")
    return targets[0]


def _show(api: "OperatorApi", args: argparse.Namespace, screen: Screen, target: Target) -> int:
    from server_stub.cli.glance import target_end

    if not target.ended:
        raise TryLaterError(
            f"task {args.task} on {target.node_id} is {target.words}", hint="add --follow to see its output as it comes"
        )
    event = target_end(api, args.task, target.node_id)
    if event.name != "result":
        raise RequestRefusedError(
            f"task {args.task} on {target.node_id} has no output ({visible(target.words)})",
            hint=f"see more with lattice-control task show {args.task}",
        )
    result = content(ResultAnswer, event).result
    if args.json:
        screen.document(json.loads(event.data))
    else:
        live = LiveOutput(screen, args.color)
        live.result(result)
        live.remark(ending(args.task, target.node_id, result))
    return os.EX_OK


COMMAND = Command(
    words=("task", "output"),
    summary="print what a script printed on one node",
    details=(
        "Its standard output and standard error go to the same two streams, how it ended to standard error. Without "
        "--follow the exit code is 0 if there is a result, 65 if there is none, and 75 if the script has not ended; "
        "with --follow the exit codes are those of task run."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
