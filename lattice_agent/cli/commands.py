"""Which module answers which call: one file per command, imported when it is called.

A module of a one-shot mode has ``run(line: CommandLine) -> int``, one of a subcommand
``run(words: Sequence[str], environ: Mapping[str, str]) -> int``. Both return the exit code.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lattice_agent.cli.commandline import CommandLine
from lattice_agent.config.golang import quote
from lattice_agent.errors import UsageError

OneShot = Callable[[CommandLine], int]
Subcommand = Callable[[Sequence[str], Mapping[str, str]], int]

ONE_SHOTS: Final = {
    "version": "lattice_agent.cli.version",
    "compat-json": "lattice_agent.cli.compat",
    "update-nft-domain-set": "lattice_agent.cli.nft_update",
    "selfcheck-controlplane": "lattice_agent.cli.selfcheck",
}
"""By flag, in the order in which they win (protocol reference, section 6)."""

SUBCOMMANDS: Final[Mapping[str, str]] = {
    "doctor": "lattice_agent.cli.doctor",
    "exec": "lattice_agent.cli.exec",
    "facts": "lattice_agent.cli.facts",
    "metrics": "lattice_agent.cli.metrics",
    "policy": "lattice_agent.cli.policy",
    "usage": "lattice_agent.cli.usage",
}
"""By first word. A word here is an addition to the Go agent's command line, where it would end the flags."""


def one_shot(line: CommandLine) -> OneShot | None:
    """The one-shot mode that the flags ask for, or None: run the agent."""
    for flag, module in ONE_SHOTS.items():
        if line.is_on(flag):
            run: OneShot = importlib.import_module(module).run
            return run
    return None


def subcommand(word: str) -> Subcommand:
    """The command named by the first word. Raises UsageError."""
    if word not in SUBCOMMANDS:
        raise UsageError(f"unknown command {quote(word)}", hint="flags begin with a dash; see lattice-agent -h")
    run: Subcommand = importlib.import_module(SUBCOMMANDS[word]).run
    return run
