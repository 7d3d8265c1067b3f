"""``operator password``: what an operator signs in to the web page with."""

import argparse
import os

from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.password import new_password
from server_stub.cli.screen import Screen
from server_stub.rules.passwords import LONGEST, SHORTEST


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=identifier, help="name of the operator")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--password-file", metavar="PATH", help="file that holds the password; asked for if left out")
    how.add_argument("--clear", action="store_true", help="take the password away: no more signing in to the page")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        password = None if args.clear else new_password(args.password_file)
        answer = api.post(("operators", args.name, "password"), {"password": password})
    if args.json:
        screen.document(answer)
    else:
        screen.lines([f"operator {args.name} has {'no password' if args.clear else 'a new password'} for the web page"])
    return os.EX_OK


COMMAND = Command(
    words=("operator", "password"),
    summary="set the password with which an operator signs in to the web page",
    details=(
        f"{SHORTEST} to {LONGEST:,} characters, typed twice without echo or read from a file, never an argument. The "
        "operator's token is another thing and stays as it is."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
