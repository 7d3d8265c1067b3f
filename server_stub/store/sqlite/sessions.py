"""Operators' sessions on the web page in SQLite."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from server_stub.rules.sessions import Session
from server_stub.times import from_us, to_us

_SESSION: Final = (
    "SELECT digest, operator, csrf, session.created_at, used_at FROM session JOIN operator ON operator.name = operator"
)


class SqliteSessions:
    """``SessionTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, session: Session) -> None:
        self._connection.execute(
            "INSERT INTO session (digest, operator, csrf, created_at, used_at) VALUES (?, ?, ?, ?, ?)",
            (session.digest, session.operator, session.csrf, to_us(session.created_at), to_us(session.used_at)),
        )

    def get(self, digest: bytes) -> Session | None:
        row = self._connection.execute(
            f"{_SESSION} WHERE digest = ? AND operator.revoked_at IS NULL", (digest,)
        ).fetchone()
        return None if row is None else _session(row)

    def of(self, operator: str) -> list[Session]:
        rows = self._connection.execute(f"{_SESSION} WHERE operator = ? ORDER BY digest", (operator,))
        return [_session(row) for row in rows]

    def note_use(self, digest: bytes, at: datetime) -> None:
        self._connection.execute("UPDATE session SET used_at = ? WHERE digest = ?", (to_us(at), digest))

    def remove(self, digests: Iterable[bytes]) -> None:
        self._connection.executemany("DELETE FROM session WHERE digest = ?", [(digest,) for digest in digests])


def _session(row: tuple[Any, ...]) -> Session:
    digest, operator, csrf, created, used = row
    return Session(digest, operator, csrf, from_us(created), from_us(used))
