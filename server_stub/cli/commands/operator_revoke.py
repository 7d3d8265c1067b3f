"""``operator revoke``: no longer accept an operator's token."""

import argparse
import os

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=identifier, help="name of the operator")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("operators", args.name, "revoke"), {})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"operator {args.name} is revoked: the token is no longer accepted"])
    return os.EX_OK


COMMAND = Command(
    words=("operator", "revoke"),
    summary="refuse an operator's token for good",
    details="What the operator has asked for goes on. A revoked name is not given again.",
    add_arguments=_add_arguments,
    run=_run,
)
