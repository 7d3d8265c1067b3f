"""``node add``: make a node and show its token, this once."""

import argparse
import os
from typing import TYPE_CHECKING

from server_stub.cli.answers import NodeAnswer, TokenAnswer, read
from server_stub.cli.arguments import identifier, name, tag
from server_stub.cli.command import Command, connect
from server_stub.cli.enrol import enrolment
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible

if TYPE_CHECKING:
    from server_stub.cli.api import Answer


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the new node")
    parser.add_argument("--name", type=name, help="a name for people; the id if left out")
    parser.add_argument("--tag", metavar="TAG", type=tag, action="append", default=[], help="a tag; may be repeated")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body = {"id": args.node} | ({"name": args.name} if args.name else {})
    with connect(args) as api:
        answer = api.post(("nodes",), body)
        try:
            if args.tag:
                answer |= api.post(("nodes", args.node, "tags"), {"tags": list(dict.fromkeys(args.tag))})
        finally:  # the node is there, and nobody gets to see its token again
            _show(args, screen, answer, api.server)
    return os.EX_OK


def _show(args: argparse.Namespace, screen: Screen, answer: "Answer", server: str) -> None:
    if args.json:
        screen.document(answer)
        return
    node = read(NodeAnswer, answer).node
    lines = enrolment(server, node.id, read(TokenAnswer, answer).token)
    screen.lines([f"node {visible(node.id)} is added; its token is shown only now", "", *lines])


COMMAND = Command(
    words=("node", "add"),
    summary="add a node and print its token once, with the commands that start its agent",
    details=(
        "The server keeps only a hash of the token: if it is lost, make a new one with node rotate. If the tags are "
        "refused, the node is added without them."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
