"""What is remembered of nodes' ledgers in SQLite: a row for each id, so that a report writes only what has moved."""

import json
import sqlite3
from collections.abc import Iterable, Mapping

from server_stub.rules.usage_ledger import MAX_LEDGERS, KnownLedger


class SqliteLedgers:
    """``LedgerTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def known(self, node_id: str, ledger_id: str, user_ids: Iterable[str]) -> KnownLedger | None:
        row = self._connection.execute(
            "SELECT number, seq, ids FROM ledger WHERE node_id = ? AND id = ?", (node_id, ledger_id)
        ).fetchone()
        if row is None:
            return None
        number, seq, ids = row
        totals = self._connection.execute(
            "SELECT user_id, total FROM ledger_total WHERE ledger = ? AND user_id IN (SELECT value FROM json_each(?))",
            (number, json.dumps(list(user_ids))),
        )
        return KnownLedger(seq, dict(totals.fetchall()), ids)

    def remember(self, node_id: str, ledger_id: str, seq: int, totals: Mapping[str, int], ids: int) -> None:
        # Uses are counted, not timed: a clock that was set back must not make the newest ledger the oldest.
        (number,) = self._connection.execute(
            "INSERT INTO ledger (node_id, id, seq, ids, used) VALUES (:node, :id, :seq, :ids,"
            " (SELECT coalesce(max(used), 0) + 1 FROM ledger WHERE node_id = :node))"
            " ON CONFLICT (node_id, id) DO UPDATE SET seq = excluded.seq, ids = excluded.ids, used = excluded.used"
            " RETURNING number",
            {"node": node_id, "id": ledger_id, "seq": seq, "ids": ids},
        ).fetchone()
        self._connection.executemany(
            "INSERT INTO ledger_total (ledger, user_id, total) VALUES (?, ?, ?)"
            " ON CONFLICT (ledger, user_id) DO UPDATE SET total = excluded.total",
            [(number, user_id, total) for user_id, total in totals.items()],
        )
        self._connection.execute(
            "DELETE FROM ledger WHERE node_id = :node AND number NOT IN"
            " (SELECT number FROM ledger WHERE node_id = :node ORDER BY used DESC LIMIT :kept)",
            {"node": node_id, "kept": MAX_LEDGERS},
        )
