"""A new password: from the terminal without echo and twice, or from a file; never from an argument."""

import getpass
import sys
from pathlib import Path
from typing import Final

from server_stub.cli.errors import InputError, RequestRefusedError, UsageError
from server_stub.rules.passwords import LONGEST, SHORTEST

_MOST_BYTES: Final = 4 * LONGEST
"""Of a file, without its line end: the longest password in characters of four bytes."""


def new_password(path: str | None) -> str:
    """Raises ``InputError``, ``UsageError`` (neither file nor terminal) or ``RequestRefusedError``."""
    return _checked(_typed() if path is None else _of_file(Path(path)))


def _typed() -> str:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password", hint="give it with --password-file PATH")
    try:
        first = getpass.getpass(f"new password (at least {SHORTEST} characters): ")
        again = getpass.getpass("the same again: ")
    except EOFError:
        raise InputError("no password was typed", hint="try again, or give it with --password-file PATH") from None
    if first != again:
        raise RequestRefusedError("the two passwords differ", hint="nothing is changed; try again")
    return first


def _of_file(path: Path) -> str:
    """All of it; one line end is no part of it."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 3).removesuffix(b"\n").removesuffix(b"\r")
        if len(raw) > _MOST_BYTES:  # cut, so it might end within a character
            raise _too_long()
        return raw.decode()
    except OSError as error:
        raise InputError(f"password file {str(path)!a} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"password file {str(path)!a} is not UTF-8", hint="write the password as plain text") from None


def _checked(password: str) -> str:
    """What would be refused by the server is not sent to it. The password itself is in no message."""
    if len(password) < SHORTEST:
        raise RequestRefusedError(
            f"the password has {len(password)} characters",
            hint=f"take at least {SHORTEST}; a sentence is easy to keep",
        )
    if len(password) > LONGEST:
        raise _too_long()
    if not password.isprintable():
        raise RequestRefusedError("the password holds control characters", hint="take one that can be typed")
    return password


def _too_long() -> RequestRefusedError:
    return RequestRefusedError(f"the password is longer than {LONGEST:,} characters", hint="take a shorter one")
