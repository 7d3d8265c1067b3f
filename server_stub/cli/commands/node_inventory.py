"""``node inventory``: what a node's host is, in detail."""

import argparse
import os
from collections.abc import Iterator, Mapping

from server_stub.cli.answers import InventoryAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.report import items, section
from server_stub.cli.screen import Screen
from server_stub.cli.text import moment, visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node", metavar="NODE", type=identifier, help="id of the node")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("nodes", args.node, "inventory"))
    if args.json:
        screen.document(answer)
        return os.EX_OK
    told = read(InventoryAnswer, answer)
    if told.inventory:
        screen.lines(_lines(told))
    else:
        screen.remark(f"node {args.node} has reported no inventory")
    return os.EX_OK


def _lines(told: InventoryAnswer) -> Iterator[str]:
    yield f"received {moment(told.received_at)}"
    for family, found in told.inventory.items():
        lines: list[str] = []
        if isinstance(found, Mapping):
            lines = section(found)
        elif isinstance(found, list):
            lines = items(found)
        if lines:
            yield from ("", visible(family), *(f"  {line}" for line in lines))


COMMAND = Command(
    words=("node", "inventory"),
    summary="show what a node's host is: processors, memory, disks, interfaces, system",
    details="What each field means is in docs/facts.md. What could not be read is listed under gaps, with the reason.",
    add_arguments=_add_arguments,
    run=_run,
)
