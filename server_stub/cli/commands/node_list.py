"""``node list``: all nodes and whether they are there."""

import argparse
import os

from server_stub.cli.answers import Node, NodeList, read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, moment, table

_COLUMNS = (Column("NODE"), Column("NAME"), Column("STATE"), Column("AGENT"), Column("LAST SEEN"))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("nodes",))
    if args.json:
        screen.document(answer)
        return os.EX_OK
    nodes = read(NodeList, answer).nodes
    if nodes:
        screen.lines(table(_COLUMNS, map(_row, nodes)))
    else:
        screen.remark("no nodes yet; make one with lattice-control node add NODE")
    return os.EX_OK


def _row(node: Node) -> tuple[str, ...]:
    return node.id, node.name, state(node), node.agent_version, moment(node.last_seen)


def state(node: Node) -> str:
    """One word for a node."""
    if node.disabled:
        return "disabled"
    return "online" if node.online else "offline"


COMMAND = Command(
    words=("node", "list"),
    summary="list the nodes",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
