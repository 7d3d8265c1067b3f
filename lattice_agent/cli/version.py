"""``-version``: the version alone, as the server's update script compares it."""

from lattice_agent import __version__
from lattice_agent.cli.commandline import CommandLine


def run(_line: CommandLine) -> int:
    """Prints the version on stdout."""
    print(__version__)
    return 0
