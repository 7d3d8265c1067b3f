"""Bytes by user, node and span in SQLite; what is older than its span is kept leaves with the next booking."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from server_stub.rules.billing_calendar import Span, kept_since
from server_stub.rules.usage_report import MAX_COUNTER
from server_stub.store.records import Booking, BookingQuery
from server_stub.times import from_us, opt_to_us, to_us

# SQLite has no way to go from one beginning to the next in an index by itself: with a user given it would read every
# row of the span. "All users" is a range of ids, so that one statement serves both.
_STARTS: Final = """
WITH RECURSIVE starts (start) AS (
    SELECT min(start) FROM booking WHERE span = :span AND start >= :since
    UNION ALL
    SELECT (SELECT min(start) FROM booking WHERE span = :span AND start > starts.start)
    FROM starts WHERE starts.start IS NOT NULL AND (:until IS NULL OR starts.start < :until)
)
"""
_ROWS: Final = """
FROM starts JOIN booking ON booking.span = :span AND booking.start = starts.start
WHERE (:until IS NULL OR starts.start < :until) AND user_id BETWEEN :first_user AND :last_user
    AND (:node = '' OR node_id = :node)
"""
_FIND: Final = (
    f"{_STARTS} SELECT booking.start, user_id, node_id, bytes {_ROWS}"
    " ORDER BY booking.start, user_id, node_id LIMIT :limit"
)
_TOTALS: Final = f"{_STARTS} SELECT booking.start, total(bytes) {_ROWS} GROUP BY booking.start ORDER BY booking.start"
_AFTER_ALL_IDS: Final = "\x7f"


class SqliteBookings:
    """``BookingTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, bookings: Iterable[Booking], now: datetime) -> None:
        # Saturates like the account; SQLite would turn an overflowing sum into a float.
        self._connection.executemany(
            "INSERT INTO booking (span, start, user_id, node_id, bytes) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (span, start, user_id, node_id)"
            " DO UPDATE SET bytes = CASE WHEN bytes > ? - excluded.bytes THEN ? ELSE bytes + excluded.bytes END",
            [
                (one.span, to_us(one.start), one.user_id, one.node_id, one.bytes, MAX_COUNTER, MAX_COUNTER)
                for one in bookings
            ],
        )
        # The key begins with span and start: where nothing is too old this is one look for each span.
        self._connection.executemany(
            "DELETE FROM booking WHERE span = ? AND start < ?", [(span, to_us(kept_since(span, now))) for span in Span]
        )

    def find(self, query: BookingQuery, limit: int) -> list[Booking]:
        rows = self._connection.execute(_FIND, _wanted(query) | {"limit": limit})
        return [Booking(query.span, from_us(start), user, node, count) for start, user, node, count in rows]

    def totals(self, query: BookingQuery) -> list[tuple[datetime, float]]:
        rows = self._connection.execute(_TOTALS, _wanted(query))
        return [(from_us(start), count) for start, count in rows]


def _wanted(query: BookingQuery) -> dict[str, Any]:
    return {
        "span": query.span,
        "since": to_us(query.since),
        "until": opt_to_us(query.until),
        "first_user": query.user_id,
        "last_user": query.user_id or _AFTER_ALL_IDS,
        "node": query.node_id,
    }
