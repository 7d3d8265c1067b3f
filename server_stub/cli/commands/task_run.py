"""``task run``: send a script to nodes, and wait for its end when asked to."""

import argparse
import os

from server_stub.cli.answers import read
from server_stub.cli.command import Command, connect
from server_stub.cli.following import add_colour_argument, follow_task
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import Task, TaskAnswer
from server_stub.cli.task_order import add_fan_out_arguments, add_order_arguments, fan_out_body, order_body
from server_stub.cli.text import visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_order_arguments(parser)
    add_fan_out_arguments(parser)
    parser.add_argument(
        "--follow",
        action="store_true",
        help="one node: print the output while it comes; several: print each when it ends",
    )
    add_colour_argument(parser)


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body = order_body(args) | fan_out_body(args)
    with connect(args) as api:
        answer = api.post(("tasks",), body)
        if args.follow:
            return follow_task(api, screen, read(TaskAnswer, answer).task, args)
    if args.json:
        screen.document(answer)
    else:
        screen.lines([queued_line(read(TaskAnswer, answer).task)])
    return os.EX_OK


def queued_line(task: Task) -> str:
    """What is said of a task that is not followed."""
    places = f" for {len(task.nodes)} nodes" if len(task.nodes) > 1 else ""
    shown = visible(task.id)
    return f"task {shown} is queued{places}; see it with lattice-control task show {shown}"


COMMAND = Command(
    words=("task", "run"),
    summary="run a script on nodes",
    details=(
        "With --follow the exit code is 0 when the script succeeded on every node, and 1 when it failed, was stopped, "
        "refused, cancelled or lost on one; the script's own exit code is in the last line and in --json. 130 is an "
        "interrupt, which ends the wait and not the task. Without --follow, 0 means that the task is queued."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
