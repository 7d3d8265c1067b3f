"""``task show``: one task and what came back."""

import argparse
import os

from server_stub.cli.answers import TaskAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.outcome import show_task
from server_stub.cli.screen import Screen


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
    summary="show a task and the results of its nodes",
    details="The script itself is not shown: the server answers with its SHA-256 only.",
    add_arguments=_add_arguments,
    run=_run,
)
