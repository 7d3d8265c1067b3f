"""``user set``: whether, until when and where a proxy user is served and counted."""

import argparse
import os

from server_stub.cli.answers import UserAnswer, read
from server_stub.cli.arguments import identifier, name, time, unless_never
from server_stub.cli.command import Command, connect
from server_stub.cli.errors import UsageError
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", type=identifier, help="id of the user")
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--enable", dest="enabled", action="store_true", default=None, help="switch the user on")
    switch.add_argument("--disable", dest="enabled", action="store_false", help="switch the user off")
    parser.add_argument(
        "--expires-at", metavar="TIME", type=unless_never(time), help="such as 2026-12-31T00:00:00Z, or never"
    )
    places = parser.add_mutually_exclusive_group()
    places.add_argument(
        "--node", metavar="NODE", type=name, action="append", dest="nodes", help="count here only; may be repeated"
    )
    places.add_argument("--all-nodes", action="store_const", const=[], dest="nodes", help="count on every node")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body = _body(args)
    if not body:
        raise UsageError("there is nothing to set", hint="see lattice-control user set --help")
    with connect(args) as api:
        answer = api.post(("users", args.user), body)
    if args.json:
        screen.document(answer)
    else:
        user = read(UserAnswer, answer).user
        screen.lines([f"user {visible(user.id)} is {visible(user.status)}; see lattice-control user show {args.user}"])
    return os.EX_OK


def _body(args: argparse.Namespace) -> dict[str, object]:
    """What was given; the rest stays as it is."""
    given = {"enabled": args.enabled, "nodes": args.nodes, "expires_at": args.expires_at}
    body = {key: value for key, value in given.items() if value is not None}
    return body | ({"expires_at": None} if args.expires_at == "" else {})


COMMAND = Command(
    words=("user", "set"),
    summary="switch a proxy user on or off, set when it expires and where it is counted",
    details="Traffic of users that are off or expired is counted all the same: switching them off is up to the core.",
    add_arguments=_add_arguments,
    run=_run,
)
