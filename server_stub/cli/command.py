"""What a command is, and the way from its options to the server."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server_stub.cli.connection import connection_from
from server_stub.cli.screen import Screen

if TYPE_CHECKING:
    from server_stub.cli.api import OperatorApi


@dataclass(frozen=True)
class Command:
    """One command; ``run`` returns the exit code and raises ``ControlError``."""

    words: tuple[str, ...]
    """One word, or a group and a word in it."""
    summary: str
    """One line for lists of commands."""
    details: str
    """What a user has to know beyond the options; shown under the summary in the command's help."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Screen], int]
    asks_server: bool = True
    """Has the options of a connection and ``--json``."""


def connect(args: argparse.Namespace) -> "OperatorApi":
    """The server that the options name; use it as a context manager."""
    connection = connection_from(args, os.environ)
    from server_stub.cli.api import OperatorApi  # httpx takes most of a command's start; help and serve go without

    return OperatorApi(connection)
