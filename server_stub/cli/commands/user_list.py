"""``user list``: everybody whose proxy traffic is counted."""

import argparse
import os

from server_stub.cli.answers import User, UserList, read
from server_stub.cli.command import Command, connect
from server_stub.cli.screen import Screen
from server_stub.cli.text import Column, size, table
from server_stub.cli.user_text import end, places, quota

_COLUMNS = (
    Column("USER"),
    Column("NAME"),
    Column("STATUS"),
    Column("USED", right=True),
    Column("QUOTA"),
    Column("EXPIRES"),
    Column("NODES"),
)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def _run(args: argparse.Namespace, screen: Screen) -> int:
    with connect(args) as api:
        answer = api.get(("users",))
    if args.json:
        screen.document(answer)
        return os.EX_OK
    users = read(UserList, answer).users
    if users:
        screen.lines(table(_COLUMNS, map(_row, users)))
    else:
        screen.remark("no proxy users yet; make one with lattice-control user add USER")
    return os.EX_OK


def _row(user: User) -> tuple[str, ...]:
    return user.id, user.name, user.status, size(user.used_bytes), quota(user), end(user), places(user)


COMMAND = Command(
    words=("user", "list"),
    summary="list proxy users, what they may transfer and have",
    details="",
    add_arguments=_add_arguments,
    run=_run,
)
