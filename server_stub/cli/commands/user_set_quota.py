"""``user set-quota``: what a proxy user may transfer, for ever or in each billing month."""

import argparse
import os

from server_stub.cli.answers import UserAnswer, read
from server_stub.cli.arguments import byte_count, identifier, reset_day, unless_none
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible
from server_stub.cli.user_text import quota


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", type=identifier, help="id of the user")
    parser.add_argument(
        "quota", metavar="SIZE", type=unless_none(byte_count), help="bytes, such as 500GB; none for no quota"
    )
    parser.add_argument(
        "--reset-day",
        metavar="DAY",
        type=reset_day,
        help="1 to 28: the quota counts by month from 00:00 UTC of this day; none: for ever; left out: as before",
    )


def _run(args: argparse.Namespace, screen: Screen) -> int:
    body: dict[str, object] = {"quota_bytes": args.quota}
    if args.reset_day is not None:
        body["reset_day"] = args.reset_day
    with connect(args) as api:
        answer = api.post(("users", args.user), body)
    if args.json:
        screen.document(answer)
    else:
        user = read(UserAnswer, answer).user
        screen.lines([f"user {visible(user.id)} has quota {quota(user)}, and is {visible(user.status)}"])
    return os.EX_OK


COMMAND = Command(
    words=("user", "set-quota"),
    summary="set what a proxy user may transfer",
    details=(
        "What was used so far stays counted until the next reset day comes; user reset forgives it. An exceeded quota"
        " shows in the status, and counting goes on."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
