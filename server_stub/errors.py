"""The two kinds of error of the control plane: an answer to the caller, and a fault its operator has to mend."""

import os
from typing import Final

DEFAULT_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limited",
    502: "bad_gateway",
}


def default_code(status: int) -> str:
    """The ``code`` that belongs to a status when no special one fits (protocol reference 1.0)."""
    if status in DEFAULT_CODES:
        return DEFAULT_CODES[status]
    return "internal_error" if status >= 500 else "request_failed"


class Refused(Exception):  # noqa: N818  # an answer to the caller, not a fault of the program
    """A request that gets an error envelope. Rules raise it, the outermost layer turns it into the answer.

    >>> Refused(409, "task t1 is leased").code
    'request_failed'
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_s: Final = retry_after_s
        """When to ask again, if that is known."""
        self.status: Final = status
        self.message: Final = message
        self.code: Final = code or default_code(status)


class ControlError(Exception):
    """Base of what stops ``lattice-control``; ``exit_code`` follows sysexits(3)."""

    exit_code = os.EX_SOFTWARE
    default_hint = "this is a fault of lattice-control; please report it with the log"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self._hint = hint

    def hint(self) -> str:
        """The next step for a human, one sentence without a full stop."""
        return self._hint if self._hint is not None else self.default_hint


class SettingsError(ControlError):
    """A setting of ``serve`` is wrong; the message names it and its value."""

    exit_code = os.EX_CONFIG
    default_hint = "correct the setting and start again"


class StoreError(ControlError):
    """The database cannot be used."""

    exit_code = os.EX_IOERR
    default_hint = "check that the database's directory exists, is writable and has free space"


class StoreLockedError(StoreError):
    """Another process serves this database."""

    exit_code = os.EX_TEMPFAIL
    default_hint = "stop the other lattice-control, or give this one its own database"
