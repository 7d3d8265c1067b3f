"""Which tasks a poll is handed, and which are given up (protocol reference 2.3).

A lease lives ``timeout_sec`` + 300 s. Dead ones are noticed when their node polls, as in the reference; what differs
is the order (oldest task first instead of random), that a target whose leases have died too often is lost instead
of being handed out for ever, and that a task can bound how many nodes have it at once, how often it may fail and how
long it may be queued. Whoever asked for the end of a target does not want it handed out again: with its lease it is
lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server_stub.errors import Refused

MAX_WITHOUT_EXTENSION: Final = 3
_MAX_DIGITS: Final = 4
_GRACE: Final = timedelta(seconds=300)
_UNLIMITED_TIMEOUT: Final = timedelta(seconds=900)


@dataclass(frozen=True)
class Candidate:
    """A target without a result that belongs to the polling node. ``lease_expires_at`` is unset before its first."""

    task_id: str
    attempts: int
    timeout_sec: int
    lease_expires_at: datetime | None
    queued_until: datetime | None = None
    """While it was never leased: when its queued clock fires."""
    cancel_requested: bool = False
    free: int | None = None
    """How many more targets of its task may be leased; ``None`` is any number."""
    stopped: bool = False
    """Its task hands out nothing more."""


@dataclass(frozen=True)
class Grant:
    """Hand this target out; ``attempt`` counts from 1."""

    task_id: str
    attempt: int
    expires_at: datetime


@dataclass(frozen=True)
class Decision:
    """What a poll does to the node's candidates."""

    grants: tuple[Grant, ...]
    lost: tuple[str, ...]
    """Task ids that are given up on this node."""
    expired: tuple[str, ...] = ()
    """Task ids that were queued on it for too long."""


def lease_lifetime(timeout_sec: int) -> timedelta:
    """How long a lease lives; a timeout that is not positive counts as 900 s."""
    return (timedelta(seconds=timeout_sec) if timeout_sec > 0 else _UNLIMITED_TIMEOUT) + _GRACE


def is_alive(lease_expires_at: datetime | None, now: datetime) -> bool:
    """A lease dies when MORE than its lifetime has passed."""
    return lease_expires_at is not None and now <= lease_expires_at


def decide(candidates: Sequence[Candidate], now: datetime, room: int, attempt_limit: int) -> Decision:
    """Walks the candidates, oldest task first; at most ``room`` grants."""
    grants: list[Grant] = []
    lost: list[str] = []
    expired: list[str] = []
    for candidate in candidates:
        if is_alive(candidate.lease_expires_at, now):
            continue
        if is_overdue(candidate.queued_until, now):
            expired.append(candidate.task_id)
        elif _is_given_up(candidate, attempt_limit):
            lost.append(candidate.task_id)
        elif len(grants) < room and candidate.free != 0 and not candidate.stopped:
            expires_at = now + lease_lifetime(candidate.timeout_sec)
            grants.append(Grant(candidate.task_id, candidate.attempts + 1, expires_at))
    return Decision(tuple(grants), tuple(lost), tuple(expired))


def is_overdue(queued_until: datetime | None, now: datetime) -> bool:
    """Whether the queued clock of a target has fired."""
    return queued_until is not None and now > queued_until


def _is_given_up(candidate: Candidate, attempt_limit: int) -> bool:
    unwanted = candidate.cancel_requested or candidate.stopped
    return candidate.attempts >= attempt_limit or (unwanted and candidate.attempts > 0)


def room_of(max_parameter: str | None, ceiling: int) -> int:
    """Tasks a poll may be handed: 3, or what ``max`` asks for (extension ``tasks.batch``); ``Refused`` 400."""
    if max_parameter is None:
        return MAX_WITHOUT_EXTENSION
    digits = max_parameter.isascii() and max_parameter.isdigit() and len(max_parameter) <= _MAX_DIGITS
    if not digits or not 1 <= int(max_parameter) <= ceiling:
        raise Refused(400, f"max must be between 1 and {ceiling}")
    return int(max_parameter)
