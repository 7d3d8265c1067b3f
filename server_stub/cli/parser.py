"""The command line as argparse sees it, built from the table of commands."""

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from server_stub.cli.command import Command
from server_stub.cli.connection import add_connection_arguments
from server_stub.cli.errors import UsageError

PROGRAM: Final = "lattice-control"
_HELP_WIDTH: Final = 100  # fixed, so that docs/control.md and a narrow terminal show the same text

GROUPS: Final = {
    "node": "nodes and their tokens",
    "profile": "proxy profiles of nodes",
    "user": "users of the proxy",
    "task": "scripts for nodes",
    "usage": "proxy traffic",
    "operator": "operators, their tokens and passwords",
}


class Parser(argparse.ArgumentParser):
    """Raises ``UsageError`` instead of printing the usage and leaving with 2; takes no abbreviated options.

    Abbreviations are off because ``--token SECRET`` would otherwise be read as ``--token-file SECRET``.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, formatter_class=_formatter)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see {self.prog} --help")


def build_parser(commands: Sequence[Command]) -> Parser:
    """The whole parser; the namespace it gives has ``command`` set to the chosen ``Command``."""
    top = Parser(prog=PROGRAM, description="Run and ask a Lattice control plane.")
    words = _add_choices(top)
    groups: dict[str, argparse._SubParsersAction[Parser]] = {}
    for command in commands:
        if len(command.words) == 1:
            _add_command(words, command, PROGRAM)
            continue
        group = command.words[0]
        if group not in groups:
            about = GROUPS[group]
            groups[group] = _add_choices(
                words.add_parser(group, help=about, prog=f"{PROGRAM} {group}", description=f"Commands for {about}.")
            )
        _add_command(groups[group], command, f"{PROGRAM} {group}")
    return top


def _add_choices(parser: Parser) -> "argparse._SubParsersAction[Parser]":
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add_command(choices: "argparse._SubParsersAction[Parser]", command: Command, prefix: str) -> None:
    word = command.words[-1]
    parser = choices.add_parser(
        word,
        help=command.summary,
        prog=f"{prefix} {word}",
        description=f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}".strip(),
    )
    parser.set_defaults(command=command)
    command.add_arguments(parser)
    if command.asks_server:
        parser.add_argument("--json", action="store_true", help="print the server's answer as JSON")
        add_connection_arguments(parser)


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=_HELP_WIDTH, max_help_position=32)
