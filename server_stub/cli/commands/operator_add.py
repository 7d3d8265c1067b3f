"""``operator add``: give somebody a token of their own."""

import argparse
import os

from server_stub.cli.answers import OperatorAnswer, TokenAnswer, read
from server_stub.cli.arguments import identifier
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=identifier, help="name of the new operator, as the audit shows it")


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.post(("operators",), {"name": args.name})
    if args.json:
        screen.document(answer)
        return os.EX_OK
    operator = read(OperatorAnswer, answer).operator
    token = visible(read(TokenAnswer, answer).token)
    screen.lines([f"operator {visible(operator.name)} is added; the token is shown only now", "", f"token  {token}"])
    screen.remark(f"for the web page, set a password: lattice-control operator password {visible(operator.name)}")
    return os.EX_OK


COMMAND = Command(
    words=("operator", "add"),
    summary="add an operator and print the token once",
    details="Every operator may do everything; names keep apart in the audit who did what.",
    add_arguments=_add_arguments,
    run=_run,
)
