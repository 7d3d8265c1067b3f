"""The audit in SQLite: appended to, read newest first, bounded in number for each origin."""

import json
import sqlite3
from typing import Any, Final

from server_stub.store.records import AuditEvent
from server_stub.times import from_us, to_us

_PRUNE_EVERY: Final = 256
"""Events between two looks at the retention, so that its cost is spread: up to so many more are kept."""


class SqliteAudit:
    """``AuditTable``. ``keep`` events of each origin, so that busy agents don't push out an operator's decisions."""

    def __init__(self, connection: sqlite3.Connection, keep: int) -> None:
        self._connection = connection
        self._keep = keep
        # SQLite's own lower() knows ASCII only.
        connection.create_function("casefold", 1, str.casefold, deterministic=True)

    def append(self, event: AuditEvent) -> None:
        number = self._connection.execute(
            "INSERT INTO audit (time, origin, actor, action, node_id, target, decision, reason, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(to_us(event.time), event.origin, event.actor, event.action, event.node_id, event.target),
                *(event.decision, event.reason, json.dumps(event.detail, ensure_ascii=False)),
            ),
        ).lastrowid
        if number is not None and number % _PRUNE_EVERY == 0:
            self._prune(event.origin)

    def newest(
        self, *, action: str | None, node_id: str | None, limit: int, words: str = "", before: int | None = None
    ) -> list[AuditEvent]:
        rows = self._connection.execute(
            "SELECT time, actor, action, target, node_id, decision, reason, origin, detail, id FROM audit"
            " WHERE (:action IS NULL OR action = :action) AND (:node IS NULL OR node_id = :node)"
            " AND (:before IS NULL OR id < :before) AND (:words = '' OR"
            # A character that appears in none of them keeps what is looked for from being found across two fields.
            " instr(casefold(actor || x'0a' || action || x'0a' || target || x'0a' || node_id || x'0a' || reason),"
            " :words)) ORDER BY id DESC LIMIT :limit",
            {"action": action, "node": node_id, "before": before, "words": words.casefold(), "limit": limit},
        )
        return [_event(row) for row in rows]

    def _prune(self, origin: str) -> None:
        row = self._connection.execute(
            "SELECT id FROM audit WHERE origin = ? ORDER BY id DESC LIMIT 1 OFFSET ?", (origin, self._keep)
        ).fetchone()
        if row is None:
            return
        self._connection.execute(
            "INSERT INTO audit_floor (origin, id) VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET id = excluded.id",
            (origin, row[0]),
        )
        self._connection.execute("DELETE FROM audit WHERE origin = ? AND id <= ?", (origin, row[0]))


def _event(row: tuple[Any, ...]) -> AuditEvent:
    time, actor, action, target, node_id, decision, reason, origin, detail, number = row
    return AuditEvent(
        *(from_us(time), actor, action, target, node_id, decision, reason, origin, json.loads(detail), number)
    )
