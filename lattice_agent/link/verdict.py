"""What an exchange meant: one of six kinds, whatever the status or the error was."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from lattice_agent.errors import LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import BadAnswerError
from lattice_agent.link.failures import printable
from lattice_agent.link.retry_after import retry_after_s

_MAX_ENVELOPE: Final = 64 * 1024  # bytes; a longer error body is not an envelope and is not parsed


class Kind(StrEnum):
    """The closed set; services branch on it and on nothing else but ``Verdict.code``."""

    OK = "ok"
    """2xx."""

    UNAUTHORIZED = "unauthorized"
    """401: token, node, source address or a disabled node; the server does not say which. Only a human ends it."""

    THROTTLED = "throttled"
    """429."""

    REFUSED = "refused"
    """Any other 4xx: the same request will be refused again."""

    BROKEN = "broken"
    """5xx, or an answer no control plane gives (a redirect, a coded or endless body)."""

    UNREACHABLE = "unreachable"
    """No answer."""


@dataclass(frozen=True)
class Verdict:
    """The meaning of one exchange."""

    kind: Kind
    text: str
    """One line for a human, without secrets."""

    hint: str = ""
    """The next step for a human, or empty."""

    code: str = ""
    """``error.code`` of the server's error envelope, or empty."""

    retry_after_s: float | None = None
    """What the server asked for; a bound from below for the next try."""


_HINTS: Final = {
    Kind.UNAUTHORIZED: "check node id and token, that the node is enabled, and its source allowlist;"
    " a rotated token needs a restart with the new one",
    Kind.THROTTLED: "too many requests from this address; agents behind one address share the server's limit",
    Kind.REFUSED: "the server does not accept this request; compare the versions of agent and server",
    Kind.BROKEN: "see the log of the control plane",
}


def classify(outcome: Answer | LinkError, *, wall_now: datetime | None = None) -> Verdict:
    """The verdict on an answer or on the error that stood in for one.

    ``wall_now`` (aware) is only for a Retry-After date in an answer without a Date of its own.
    """
    if isinstance(outcome, LinkError):
        kind = Kind.BROKEN if isinstance(outcome, BadAnswerError) else Kind.UNREACHABLE
        return Verdict(kind, str(outcome), outcome.hint())
    kind = _kind_of_status(outcome.status)
    if kind is Kind.OK:
        return Verdict(kind, f"status {outcome.status}")
    code, message = _envelope(outcome.body)
    text = " ".join(part for part in (f"status {outcome.status}", code, message and f"({message})") if part)
    return Verdict(kind, text, _HINTS[kind], code, retry_after_s(outcome.headers, wall_now))


def _kind_of_status(status: int) -> Kind:
    match status:
        case 401:
            return Kind.UNAUTHORIZED
        case 429:
            return Kind.THROTTLED
        case _ if 200 <= status < 300:
            return Kind.OK
        case _ if 400 <= status < 500:
            return Kind.REFUSED
        case _:
            return Kind.BROKEN


def _envelope(body: bytes) -> tuple[str, str]:
    """Code and message of an error envelope (protocol section 1.0); empty where the body is not one."""
    try:
        error = json.loads(body)["error"] if len(body) <= _MAX_ENVELOPE else {}
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return "", ""
    return (printable(code), printable(message)) if isinstance(code, str) and isinstance(message, str) else ("", "")
