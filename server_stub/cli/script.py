"""The script of ``task run``: read bounded and checked before anything is sent."""

import errno
import os
import sys
from fractions import Fraction
from typing import Final

from server_stub.cli.errors import InputError, RequestRefusedError
from server_stub.cli.text import duration
from server_stub.rules.task_limits import MAX_SCRIPT_BYTES, MAX_TIMEOUT_S

STANDARD_INPUT: Final = "-"


def read_script(path: str) -> str:
    """The text of the file, or of standard input for ``-``; raises ``InputError`` or ``RequestRefusedError``."""
    label = "the script on standard input" if path == STANDARD_INPUT else f"script {path!a}"
    try:
        raw = _bounded(path)
    except OSError as error:
        raise InputError(f"{label} cannot be read: {error.strerror}") from None
    return checked_script(raw, label)


def checked_script(raw: bytes, label: str) -> str:
    """The text of a script that the server will take; raises ``RequestRefusedError`` with the reason."""
    if len(raw) > MAX_SCRIPT_BYTES:
        raise RequestRefusedError(
            f"{label} is larger than {MAX_SCRIPT_BYTES} bytes", hint="let a short script fetch or unpack the long one"
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise RequestRefusedError(
            f"{label} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}",
            hint="convert it, or encode binary parts as base64",
        ) from None
    if not text.strip():
        raise RequestRefusedError(f"{label} is blank", hint="give a script that does something")
    return text


def whole_timeout(timeout: Fraction) -> int:
    """Seconds a task may run; raises ``RequestRefusedError`` for what the server would not take."""
    if timeout.denominator != 1 or not 1 <= timeout <= MAX_TIMEOUT_S:
        raise RequestRefusedError(
            f"--timeout is {duration(float(timeout))}",
            hint=f"give whole seconds from 1s to {MAX_TIMEOUT_S}s",
        )
    return int(timeout)


def _bounded(path: str) -> bytes:
    """At most one byte more than allowed: enough to know that it is too much."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:  # started with the descriptor closed
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return sys.stdin.buffer.read(MAX_SCRIPT_BYTES + 1)
    with open(path, "rb") as file:
        return file.read(MAX_SCRIPT_BYTES + 1)
