"""The command ``lattice-control``: runs the control plane and speaks to its operator API.

Exit codes: 0 done; 1 a followed task did not finish well; 130 interrupted; otherwise the sysexits(3) code of the
class in ``errors`` that names who has to act. Each failure is one line on standard error, never a traceback.
"""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

from server_stub.cli.errors import line_of
from server_stub.cli.screen import Screen
from server_stub.cli.text import visible, without_tokens
from server_stub.errors import ControlError

_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; only ``--help`` leaves by SystemExit."""
    screen = Screen(_safe(sys.stdout), _safe(sys.stderr))
    try:
        code = _run(sys.argv[1:] if argv is None else argv, screen)
        screen.out.flush()  # here, so that a result that cannot be written is noticed where it can be handled
    except ControlError as error:
        return _failed(screen, line_of(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed(screen, "interrupted", _INTERRUPTED)
    except OSError as error:
        return _unwritten(screen, error)
    except Exception as error:  # noqa: BLE001 - the last resort: one line instead of a traceback
        return _failed(screen, _fault(error), os.EX_SOFTWARE)
    return code


def _run(argv: Sequence[str], screen: Screen) -> int:
    from server_stub.cli.commands import COMMANDS  # imported where a fault in it still becomes one line
    from server_stub.cli.parser import build_parser

    args = build_parser(COMMANDS).parse_args(argv)
    code: int = args.command.run(args, screen)
    return code


def _safe(stream: TextIO | None) -> TextIO:
    """A stream that writes what its encoding lacks as an escape instead of failing (LANG=C and a name in Greek)."""
    if stream is None:  # started with the descriptor closed
        return io.StringIO()
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _failed(screen: Screen, message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # standard error is gone or full: the exit code is all that is left to say it
        screen.err.write(f"lattice-control: {without_tokens(visible(message))}\n")
    return code


def _unwritten(screen: Screen, error: OSError) -> int:
    """Standard output failed. Commands turn every other OSError into a ``ControlError``, which names its file."""
    # Python flushes standard output once more at exit and would complain; what is left goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # lattice-control ... | head: nobody reads on, so there is nobody to tell
        return os.EX_OK
    return _failed(screen, f"the result cannot be written: {error.strerror}; make room and try again", os.EX_IOERR)


def _fault(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return f"fault of lattice-control: {type(error).__name__} at {where}: {error}; please report it"
