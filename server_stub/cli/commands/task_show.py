"""``task show``: one task and what came back."""

import argparse
import os

from server_stub.cli.answers import read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.outcome import show_task
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import TaskAnswer


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", type=identifier, help="id of the task")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("tasks", args.task))
    if args.json:
        screen.document(answer)
    else:
        show_task(screen, read(TaskAnswer, answer).task)
    return os.EX_OK


COMMAND = Command(
    words=("task", "show"),
    summary="show a task: how it ended on each node, when and why, and what it printed",
    details=(
        "Times are followed by the seconds since the one before. The clocks are: queued (on the server), wall and CPU "
        "time of the script, and the grace between SIGTERM and SIGKILL; the one that ended it is named. Nodes with "
        "other agents tell less. The script itself is not shown, only its size and SHA-256; the web page has it."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
