"""Sessions of operators on the web page: how long one lives, and how many there may be."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

IDLE: Final = timedelta(hours=12)
ABSOLUTE: Final = timedelta(days=7)
MOST: Final = 10
"""Sessions of one operator; a further sign-in ends the one unused for longest."""
_NOTED_EVERY: Final = timedelta(minutes=5)
"""Use is written down so often: a page that refreshes itself must not write to the disk each time."""


@dataclass(frozen=True)
class Session:
    """``digest`` is of the cookie; ``csrf`` goes into each form of the page."""

    digest: bytes
    operator: str
    csrf: str
    created_at: datetime
    used_at: datetime


def is_alive(session: Session, now: datetime) -> bool:
    """A clock that was set back does not keep a session alive for longer than ``ABSOLUTE`` from then on."""
    return now - session.used_at <= IDLE and now - session.created_at <= ABSOLUTE


def is_to_be_noted(session: Session, now: datetime) -> bool:
    """Whether it is time to write down that the session is used."""
    return now - session.used_at >= _NOTED_EVERY


def ended_by_another(sessions: Iterable[Session], now: datetime) -> list[Session]:
    """Which of an operator's sessions go when a new one begins: dead ones, and those beyond ``MOST``."""
    newest_first = sorted(sessions, key=lambda session: session.used_at, reverse=True)
    alive = [session for session in newest_first if is_alive(session, now)]
    kept = {session.digest for session in alive[: MOST - 1]}
    return [session for session in newest_first if session.digest not in kept]
