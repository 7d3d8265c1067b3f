"""``user reset``: forgives what a proxy user has used."""

import argparse
import os

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", type=identifier, help="id of the user")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("users", args.user, "reset"), {})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"user {args.user} has used nothing of its quota"])
    return os.EX_OK


COMMAND = Command(
    words=("user", "reset"),
    summary="count a proxy user's quota from 0 again",
    details="Nodes go on where they are: nothing is billed again. Hours, days and months that were booked stay.",
    add_arguments=_add_arguments,
    run=_run,
)
