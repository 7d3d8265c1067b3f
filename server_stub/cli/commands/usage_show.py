"""``usage show``: proxy traffic per user, now or by hour, day or month, and how reading it goes on each node."""

import argparse
import os
from typing import TYPE_CHECKING

from server_stub.cli.answers import BookingList, UsageAnswer, read
from server_stub.cli.arguments import identifier, time_or_day
from server_stub.cli.command import Command, connect
from server_stub.cli.errors import UsageError
from server_stub.cli.screen import Screen
from server_stub.cli.usage_rows import booking_export, booking_lines, usage_export, usage_lines
from server_stub.rules.billing_calendar import Span

if TYPE_CHECKING:
    from server_stub.cli.api import Answer


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="USER", type=identifier, help="only this user")
    parser.add_argument("--node", metavar="NODE", type=identifier, help="only traffic on this node")
    parser.add_argument(
        "--by", choices=[span.value for span in Span], metavar="SPAN", help="what flowed in each %(choices)s (UTC)"
    )
    parser.add_argument(
        "--from",
        metavar="TIME",
        type=time_or_day,
        dest="since",
        help="with --by: from this day or time on; 1 day, 30 days or a year ago if left out",
    )
    parser.add_argument(
        "--to", metavar="TIME", type=time_or_day, dest="until", help="with --by: before this day or time"
    )
    parser.add_argument(
        "--format", choices=["table", "csv", "json"], metavar="FORMAT", default="table", help="%(choices)s; %(default)s"
    )


def _run(args: argparse.Namespace, screen: Screen) -> int:
    if args.json and args.format == "csv":
        raise UsageError("--json and --format csv exclude each other", hint="leave one of them out")
    if args.by is None and (args.since or args.until):
        raise UsageError("--from and --to need --by", hint="add --by hour, day or month")
    wanted = {"user": args.user, "node": args.node, "by": args.by, "from": args.since, "to": args.until}
    path = ("usage",) if args.by is None else ("usage", "bookings")
    with connect(args) as api:
        answer = api.get(path, {key: value for key, value in wanted.items() if value is not None})
    if args.json or args.format == "json":
        screen.document(answer)
    elif args.by is None:
        _show_users(args, answer, screen)
    else:
        _show_bookings(args, answer, screen)
    return os.EX_OK


def _show_users(args: argparse.Namespace, answer: "Answer", screen: Screen) -> None:
    usage = read(UsageAnswer, answer)
    if args.format == "csv":
        screen.output(usage_export(usage))
        return
    screen.lines(usage_lines(usage))
    if not usage.users:
        screen.remark("no proxy users yet; make one with lattice-control user add USER")


def _show_bookings(args: argparse.Namespace, answer: "Answer", screen: Screen) -> None:
    bookings = read(BookingList, answer).bookings
    if args.format == "csv":
        screen.output(booking_export(bookings))
    elif bookings:
        screen.lines(booking_lines(bookings))
    else:
        screen.remark("nothing was transferred in that time")


COMMAND = Command(
    words=("usage", "show"),
    summary="show proxy traffic per user and the state of each node's collector",
    details=(
        "Bytes are up and down together, as far as nodes have reported them. With --by they are shown by user, node and"
        " span, in the time at which the server learnt of them; a month begins on the user's reset day. In CSV, text"
        " that a spreadsheet would take for a formula has an apostrophe in front."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
