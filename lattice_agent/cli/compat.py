"""``-compat-json``: the servers the Go agent of this protocol was made for, in its very words."""

from lattice_agent.cli.commandline import CommandLine

COMPATIBILITY = '{"server_min":"v0.2.2-alpha.2","dashboard_min":"v0.2.2-alpha.7","channel":"alpha"}'


def run(_line: CommandLine) -> int:
    """Prints one line of JSON on stdout."""
    print(COMPATIBILITY)
    return 0
