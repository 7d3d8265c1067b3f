"""``usage show``: proxy traffic per user, and how reading it goes on each node."""

import argparse
import os
from collections.abc import Iterator

from server_stub.cli.answers import Collector, UsageAnswer, UserUsage, read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, moment, size, table

_USER_COLUMNS = (
    Column("USER"),
    Column("NAME"),
    Column("STATUS"),
    Column("USED", right=True),
    Column("QUOTA", right=True),
    Column("LAST SEEN"),
    Column("PER NODE"),
)
_NODE_COLUMNS = (
    Column("NODE"),
    Column("SOURCE"),
    Column("STATUS"),
    Column("CHECKED"),
    Column("LAST REPORT"),
    Column("ERROR"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("usage",))
    if args.json:
        screen.document(answer)
        return os.EX_OK
    usage = read(UsageAnswer, answer)
    screen.lines(_lines(usage))
    if not usage.users:
        screen.remark("no proxy users yet; make one with lattice-control user add USER")
    return os.EX_OK


def _lines(usage: UsageAnswer) -> Iterator[str]:
    if usage.users:
        yield from table(_USER_COLUMNS, map(_user_row, usage.users))
    if usage.users and usage.nodes:
        yield ""
    if usage.nodes:
        yield from table(_NODE_COLUMNS, map(_node_row, usage.nodes))


def _user_row(user: UserUsage) -> tuple[str, ...]:
    return (
        user.id,
        user.name,
        user.status,
        size(user.used_bytes),
        size(user.quota_bytes) if user.quota_bytes else "none",
        moment(user.last_seen_at),
        ", ".join(f"{node} {size(count)}" for node, count in user.per_node.items()),
    )


def _node_row(node: Collector) -> tuple[str, ...]:
    return (
        node.node_id,
        node.collector_source,
        node.collector_status,
        moment(node.checked_at),
        moment(node.last_report_at),
        node.collector_error,
    )


COMMAND = Command(
    words=("usage", "show"),
    summary="show proxy traffic per user and the state of each node's collector",
    details="Bytes are up and down together, as far as nodes have reported them.",
    add_arguments=_add_arguments,
    run=_run,
)
