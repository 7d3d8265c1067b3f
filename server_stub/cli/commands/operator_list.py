"""``operator list``: who has a token, and who had one."""

import argparse
import os

from server_stub.cli.answers import Operator, OperatorList, read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, moment, table

_COLUMNS = (Column("OPERATOR"), Column("STATE"), Column("CREATED"), Column("REVOKED"))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("operators",))
    if args.json:
        screen.document(answer)
    else:
        screen.lines(table(_COLUMNS, map(_row, read(OperatorList, answer).operators)))
    return os.EX_OK


def _row(operator: Operator) -> tuple[str, ...]:
    state = "accepted" if operator.revoked_at is None else "revoked"
    return operator.name, state, moment(operator.created_at), moment(operator.revoked_at)


COMMAND = Command(
    words=("operator", "list"),
    summary="list the operators, the revoked ones too",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
