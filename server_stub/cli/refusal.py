"""What an answer that is no success means: the kind of error by status, the next step by code.

The server's words are repeated in ours, made harmless and short: somebody else's program may answer there.
"""

from collections.abc import Mapping
from typing import Final

from server_stub.cli.errors import (
    AnswerError,
    NotAllowedError,
    RequestRefusedError,
    TryLaterError,
    UnavailableError,
)
from server_stub.cli.text import visible
from server_stub.errors import ControlError

_WORDS: Final = 500  # characters of what a server says that we repeat

_KINDS: Final[Mapping[int, type[ControlError]]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    429: TryLaterError,
    503: TryLaterError,
}
_HINTS: Final[Mapping[str | int, str]] = {
    "task_execution_disabled": "lattice-control kill-switch off lifts it",
    404: "the list commands show the ids there are",
    409: "look at its present state with show or list",
}
"""By code or status, where the kind of the error does not say the next step well enough."""


def refusal(status: int, document: Mapping[str, object] | None) -> ControlError:
    """The error for a status outside 200-299 and the JSON object that came with it, if one did."""
    envelope = document.get("error") if document is not None else None
    if not isinstance(envelope, Mapping):
        kind = AnswerError if status == 404 else _kind(status)  # a 404 of ours has an envelope
        return kind(f"the server answers HTTP {status}")
    message, code, request_id = (repeated(envelope.get(key, "")) for key in ("message", "code", "request_id"))
    text = f"{message or f'HTTP {status}'} ({code})"
    if _kind(status) is UnavailableError:
        return UnavailableError(text, hint=f"see the server's log for request {request_id}")
    return _kind(status)(text, hint=_HINTS.get(code, _HINTS.get(status)))


def repeated(words: object) -> str:
    """Foreign words, fit for one line of ours."""
    return visible(str(words))[:_WORDS]


def _kind(status: int) -> type[ControlError]:
    return _KINDS.get(status) or (UnavailableError if status >= 500 else RequestRefusedError)
