"""``audit``: who did what, newest first."""

import argparse
import json
import os
from collections.abc import Mapping

from server_stub.cli.answers import AuditEvent, AuditList, read
from server_stub.cli.arguments import name, whole
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, moment, table

_COLUMNS = (
    Column("TIME"),
    Column("ACTOR"),
    Column("ACTION"),
    Column("TARGET"),
    Column("NODE"),
    Column("DECISION"),
    Column("REASON"),
    Column("DETAIL"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--action", metavar="ACTION", type=name, help="only this action, such as task.create")
    parser.add_argument("--node", metavar="NODE", type=name, help="only events about this node")
    parser.add_argument(
        "--search",
        metavar="TEXT",
        type=name,
        help="only events with this text in actor, action, target, node or reason",
    )
    parser.add_argument("--limit", metavar="N", type=whole(1, 1000), default=50, help="at most this many; %(default)s")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    wanted = {"action": args.action, "node": args.node, "q": args.search, "limit": args.limit}
    with connect(args) as api:
        answer = api.get(("audit",), {key: value for key, value in wanted.items() if value is not None})
    if args.json:
        screen.document(answer)
        return os.EX_OK
    events = read(AuditList, answer).events
    if events:
        screen.lines(table(_COLUMNS, map(_row, events)))
    else:
        screen.remark("no such events")
    return os.EX_OK


def _row(event: AuditEvent) -> tuple[str, ...]:
    return (
        moment(event.time),
        event.actor,
        event.action,
        event.target,
        event.node_id,
        event.decision,
        event.reason,
        _particulars(event.detail),
    )


def _particulars(detail: Mapping[str, object]) -> str:
    """``key=value`` for each; what is no text is JSON."""
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in detail.items()
    )


COMMAND = Command(
    words=("audit",),
    summary="show what operators, nodes and the server did, newest first",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
