"""``node disable`` and ``node enable``: whether a node's token is accepted."""

import argparse
import os
from functools import partial

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen, *, disabled: bool) -> int:
    with connect(args) as api:
        answer = api.post(("nodes", args.node, "disable"), {"disabled": disabled})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"node {args.node} is {'disabled' if disabled else 'enabled'}"])
    return os.EX_OK


DISABLE = Command(
    words=("node", "disable"),
    summary="refuse everything a node sends, until it is enabled again",
    details="Its token stays valid for later; what it has leased and not reported waits.",
    add_arguments=_add_arguments,
    run=partial(_run, disabled=True),
)

ENABLE = Command(
    words=("node", "enable"),
    summary="accept a disabled node again",
    details="",
    add_arguments=_add_arguments,
    run=partial(_run, disabled=False),
)
