"""``user add``: somebody whose proxy traffic is counted."""

import argparse
import os

from server_stub.cli.answers import UserAnswer, read
from server_stub.cli.arguments import byte_count, identifier, name, reset_day, time
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "user", metavar="USER", type=identifier, help="id of the user, as the proxy core's counters name it"
    )
    parser.add_argument("--name", type=name, help="a name for people; the id if left out")
    parser.add_argument("--quota", metavar="SIZE", type=byte_count, help="bytes the user may transfer, such as 500GB")
    parser.add_argument(
        "--reset-day", metavar="DAY", type=reset_day, help="1 to 28: the quota counts by month from this day on (UTC)"
    )
    parser.add_argument(
        "--node", metavar="NODE", type=name, action="append", help="count on this node only; may be repeated"
    )
    parser.add_argument("--expires-at", metavar="TIME", type=time, help="such as 2026-12-31T00:00:00Z")
    parser.add_argument("--disabled", action="store_true", help="add the user switched off")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("users",), _body(args))
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"user {visible(read(UserAnswer, answer).user.id)} is added"])
    return os.EX_OK


def _body(args: argparse.Namespace) -> dict[str, object]:
    """What was given; for the rest the server has its defaults."""
    given = {"name": args.name, "quota_bytes": args.quota, "nodes": args.node, "expires_at": args.expires_at}
    given["reset_day"] = args.reset_day
    body = {"id": args.user} | {key: value for key, value in given.items() if value is not None}
    return body | ({"enabled": False} if args.disabled else {})


COMMAND = Command(
    words=("user", "add"),
    summary="add a proxy user whose traffic is counted",
    details="Without --node the user is counted on every node.",
    add_arguments=_add_arguments,
    run=_run,
)
