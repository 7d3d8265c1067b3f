"""``node drain`` and ``node undrain``: whether a node is given new tasks."""

import argparse
import os
from functools import partial

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen, *, draining: bool) -> int:
    with connect(args) as api:
        answer = api.post(("nodes", args.node, "drain"), {"draining": draining})
    if args.json:
        screen.document(answer)
    elif draining:
        screen.lines([f"node {args.node} drains: it gets no new tasks, and what runs there goes on"])
    else:
        screen.lines([f"node {args.node} gets tasks again"])
    return os.EX_OK


DRAIN = Command(
    words=("node", "drain"),
    summary="give a node no new tasks, before it is maintained",
    details=(
        "What runs goes on to its end, and tasks for the node wait in the queue. Heartbeats, facts and usage are not "
        "concerned. To stop what runs, cancel it."
    ),
    add_arguments=_add_arguments,
    run=partial(_run, draining=True),
)

UNDRAIN = Command(
    words=("node", "undrain"),
    summary="give a drained node tasks again",
    details="",
    add_arguments=_add_arguments,
    run=partial(_run, draining=False),
)
