"""``node show``: everything known about one node."""

import argparse
import os
from collections.abc import Iterator, Mapping

from server_stub.cli.answers import Node, NodeAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.commands.node_list import state
from server_stub.cli.report import section
from server_stub.cli.screen import Screen
from server_stub.cli.text import fields, moment


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("nodes", args.node))
    if args.json:
        screen.document(answer)
    else:
        screen.lines(_lines(read(NodeAnswer, answer).node))
    return os.EX_OK


def _lines(node: Node) -> Iterator[str]:
    yield from fields(
        (
            ("node", node.id),
            ("name", node.name),
            ("state", state(node)),
            ("tags", ", ".join(node.tags)),
            ("control stream", "up" if node.control_stream else "down: the node asks for tasks from time to time"),
            ("agent", node.agent_version),
            ("last seen", moment(node.last_seen)),
            ("created", moment(node.created_at)),
        )
    )
    yield from _part("addresses", node.addresses)
    yield from _part("host facts", node.host_facts)
    yield from _part("metrics", node.metrics)
    yield from _part("metrics in detail", node.metrics_detail)
    yield from _part("agent runtime", node.agent_runtime)
    yield from _part("policy, as the node tells it", node.policy)


def _part(title: str, reported: Mapping[str, object]) -> Iterator[str]:
    lines = section(reported)
    if lines:
        yield from ("", title, *(f"  {line}" for line in lines))


COMMAND = Command(
    words=("node", "show"),
    summary="show a node: state, addresses, host facts, metrics, and what its agent may do",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
