"""``task rerun``: the same script with the same limits once more, on all of its nodes or where it did not succeed."""

import argparse
import os

from server_stub.cli.answers import read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.commands.task_run import queued_line
from server_stub.cli.following import add_colour_argument, follow_task
from server_stub.cli.screen import Screen
from server_stub.cli.task_answers import TaskAnswer


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", type=identifier, help="id of a task that has ended")
    parser.add_argument("--failed", action="store_true", help="only on the nodes where it did not succeed")
    parser.add_argument("--follow", action="store_true", help="wait for the end, as with task run")
    add_colour_argument(parser)


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("tasks", args.task, "rerun"), {"only": "failed" if args.failed else "all"})
        if args.follow:
            return follow_task(api, screen, read(TaskAnswer, answer).task, args)
    if args.json:
        screen.document(answer)
    else:
        screen.lines([queued_line(read(TaskAnswer, answer).task)])
    return os.EX_OK


COMMAND = Command(
    words=("task", "rerun"),
    summary="run the script of an ended task again",
    details=(
        "It is a new task with an id of its own, and the old one stays as it is. Exit codes with --follow are those of "
        "task run; 65 if the task has not ended, or if --failed finds no node."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
