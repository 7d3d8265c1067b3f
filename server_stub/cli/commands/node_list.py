"""``node list``: all nodes and whether they are there."""

import argparse
import os
from typing import TYPE_CHECKING

from server_stub.cli.answers import Node, NodeList, read
from server_stub.cli.arguments import tag
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, moment, table

if TYPE_CHECKING:
    from server_stub.cli.api import Answer

_COLUMNS = (
    Column("NODE"),
    Column("NAME"),
    Column("STATE"),
    Column("TAGS"),
    Column("AGENT"),
    Column("LAST SEEN"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tag",
        metavar="TAG",
        type=tag,
        action="append",
        default=[],
        help="only nodes that have this tag; repeated: all of these",
    )


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("nodes",))
    if args.json and not args.tag:
        screen.document(answer)
        return os.EX_OK
    nodes = [node for node in read(NodeList, answer).nodes if set(args.tag) <= set(node.tags)]
    if args.json:
        screen.document(_only(answer, {node.id for node in nodes}))
    elif nodes:
        screen.lines(table(_COLUMNS, map(_row, nodes)))
    elif args.tag:
        screen.remark(f"no node has {' and '.join(args.tag)}; see the tags with lattice-control node list")
    else:
        screen.remark("no nodes yet; make one with lattice-control node add NODE")
    return os.EX_OK


def _only(answer: "Answer", ids: set[str]) -> "Answer":
    """The answer as it came, without the other nodes."""
    nodes = answer["nodes"]
    assert isinstance(nodes, list)  # it was read as one
    return answer | {"nodes": [node for node in nodes if node["id"] in ids]}


def _row(node: Node) -> tuple[str, ...]:
    return node.id, node.name, state(node), ", ".join(node.tags), node.agent_version, moment(node.last_seen)


def state(node: Node) -> str:
    """One or two words for a node."""
    if node.disabled:
        return "disabled"
    return ("online" if node.online else "offline") + (", draining" if node.draining else "")


COMMAND = Command(
    words=("node", "list"),
    summary="list the nodes",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
