"""The command ``lattice-agent``.

``main`` is the console script and the one place where an error becomes a line on stderr and an exit code. Nothing
that a one-shot mode can do without is imported at the top of this package.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from lattice_agent.errors import LatticeError

PROGRAM = "lattice-agent"
EXIT_INTERRUPTED = 130  # as a shell reports SIGINT


def main() -> int:
    """Runs the command line of this process; returns its exit code."""
    _hold_standard_descriptors()
    try:
        return _run(sys.argv[1:], os.environ)
    except LatticeError as error:
        from lattice_agent.logs import clean

        _say(sys.stderr, clean(f"{PROGRAM}: {error}; {error.hint()}"))
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception:
        import logging

        logging.getLogger(__name__).exception("unexpected failure; please report it with this log")
        return os.EX_SOFTWARE


def _run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    from lattice_agent.cli import commandline, commands, scrub
    from lattice_agent.cli.goflags import FlagError, HelpRequested, usage

    descriptor = scrub.resume_descriptor(words)
    if descriptor is not None:
        from lattice_agent.cli import agent

        return agent.resumed(descriptor)
    if words and not words[0].startswith("-"):
        return commands.subcommand(words[0])(words[1:], environ)
    try:
        line = commandline.read(words, environ)
    except HelpRequested:
        _say(sys.stderr, usage(PROGRAM, commandline.known_flags()), end="")
        return os.EX_OK
    except FlagError as error:
        _say(sys.stderr, f"{error}\n{usage(PROGRAM, commandline.known_flags())}", end="")
        return error.exit_code
    one_shot = commands.one_shot(line)
    return one_shot(line) if one_shot else scrub.restart(words, environ)


def _hold_standard_descriptors() -> None:
    """Opens /dev/null in the place of a standard descriptor that is closed, here and for the restarted process.

    Or the next file or socket would get its number, and with it what is printed or logged.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def _say(stream: TextIO, text: str, end: str = "\n") -> None:
    """Prints, also what argv held that is not UTF-8."""
    stream.write(text.encode("utf-8", "backslashreplace").decode() + end)
