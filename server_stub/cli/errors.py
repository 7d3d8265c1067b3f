"""What can go wrong in ``lattice-control``, grouped by who has to act; each class is one sysexits(3) code.

The message names the option, field or path and its value (never a token). Base class, ``SettingsError`` (78) and the
errors of ``serve`` are the server's own (``server_stub.errors``). Only ``main`` prints.
"""

import os

from server_stub.errors import ControlError


def line_of(error: ControlError) -> str:
    """What is wrong and what to do, without a full stop.

    >>> line_of(UsageError("COMMAND is missing"))
    'COMMAND is missing; see lattice-control --help'
    """
    return f"{error}; {error.hint()}"


class UsageError(ControlError):
    """The command line is wrong: 64."""

    exit_code = os.EX_USAGE
    default_hint = "see lattice-control --help"


class RequestRefusedError(ControlError):
    """The server, or the check before sending, refuses what was asked for: 65."""

    exit_code = os.EX_DATAERR
    default_hint = "correct the request and try again"


class InputError(ControlError):
    """A file to read cannot be read: 66."""

    exit_code = os.EX_NOINPUT
    default_hint = "check the path and its permissions"


class UnavailableError(ControlError):
    """The server cannot be reached, or failed: 69."""

    exit_code = os.EX_UNAVAILABLE
    default_hint = "check that lattice-control serve runs there and that --server names it"


class TryLaterError(ControlError):
    """Nothing is wrong with the request; it was not served in time: 75."""

    exit_code = os.EX_TEMPFAIL
    default_hint = "try again later"


class AnswerError(ControlError):
    """The answer is not one of this API: 76."""

    exit_code = os.EX_PROTOCOL
    default_hint = "check that --server names a lattice-control serve of this version"


class NotAllowedError(ControlError):
    """The token is missing, unknown or revoked: 77."""

    exit_code = os.EX_NOPERM
    default_hint = "give an operator token with --token-file or LATTICE_CONTROL_TOKEN"
