"""``node rotate``: a new token for a node; the old one ends at once."""

import argparse
import os

from server_stub.cli.answers import TokenAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.enrol import enrolment
from server_stub.cli.screen import Screen


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("nodes", args.node, "rotate"), {})
    if args.json:
        screen.document(answer)
        return os.EX_OK
    lines = enrolment(api.server, args.node, read(TokenAnswer, answer).token)
    screen.lines([f"node {args.node} has a new token, shown only now; the old one is no longer accepted", "", *lines])
    return os.EX_OK


COMMAND = Command(
    words=("node", "rotate"),
    summary="give a node a new token and print it once",
    details="The old token is refused from then on, also for an agent that is running. What was leased stays leased.",
    add_arguments=_add_arguments,
    run=_run,
)
