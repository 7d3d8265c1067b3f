"""``task cancel``: take back a task that no node has yet."""

import argparse
import os

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", type=identifier, help="id of the task")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("tasks", args.task, "cancel"), {})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"task {args.task} is cancelled"])
    return os.EX_OK


COMMAND = Command(
    words=("task", "cancel"),
    summary="cancel a task that is still queued",
    details="A task that a node has leased cannot be called back; its timeout ends it.",
    add_arguments=_add_arguments,
    run=_run,
)
