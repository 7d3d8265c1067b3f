"""``user show``: everything known about one proxy user."""

import argparse
import os
from collections.abc import Iterator

from server_stub.cli.answers import User, UserAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import fields, moment, size
from server_stub.cli.user_text import end, places, quota


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", type=identifier, help="id of the user")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("users", args.user))
    if args.json:
        screen.document(answer)
    else:
        screen.lines(_lines(read(UserAnswer, answer).user))
    return os.EX_OK


def _lines(user: User) -> Iterator[str]:
    since = f" since {moment(user.period_start)}" if user.period_start is not None else ""
    yield from fields(
        (
            ("user", user.id),
            ("name", user.name),
            ("status", user.status),
            ("used", size(user.used_bytes) + since),
            ("quota", quota(user)),
            ("expires", end(user)),
            ("nodes", places(user)),
            ("last seen", moment(user.last_seen_at)),
        )
    )
    if user.per_node:
        yield from ("", "ever transferred")
        yield from (f"  {line}" for line in fields((node, size(count)) for node, count in user.per_node.items()))


COMMAND = Command(
    words=("user", "show"),
    summary="show a proxy user: status, quota, expiry, and what it has transferred on each node",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
