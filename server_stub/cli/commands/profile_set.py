"""``profile set``: let a node report proxy usage."""

import argparse
import os

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.put(("nodes", args.node, "profile"), {})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"node {args.node} has a proxy profile; its usage reports are accepted"])
    return os.EX_OK


COMMAND = Command(
    words=("profile", "set"),
    summary="give a node a proxy profile",
    details="Without one, every usage report of the node is refused.",
    add_arguments=_add_arguments,
    run=_run,
)
