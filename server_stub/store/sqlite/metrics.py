"""The history of nodes' metrics in SQLite."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from server_stub.rules.metric_history import MetricPoint, Sample, Step
from server_stub.times import from_us, to_us

_POINT = "SELECT start, samples, cpu, load1, memory, disk, rx, tx FROM metric WHERE node_id = ? AND step = ?"


class SqliteMetrics:
    """``MetricTable``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def at(self, node_id: str, step: Step, start: datetime) -> MetricPoint | None:
        row = self._connection.execute(f"{_POINT} AND start = ?", (node_id, step.seconds, to_us(start))).fetchone()
        return None if row is None else _point(row)

    def put(self, node_id: str, step: Step, point: MetricPoint) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO metric (node_id, step, start, samples, cpu, load1, memory, disk, rx, tx)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (node_id, step.seconds, to_us(point.start), point.samples, *point.mean),
        )

    def keep(self, node_id: str, step: Step, since: datetime, until: datetime) -> None:
        self._connection.execute(
            "DELETE FROM metric WHERE node_id = ? AND step = ? AND (start < ? OR start > ?)",
            (node_id, step.seconds, to_us(since), to_us(until)),
        )

    def since(self, node_id: str, step: Step, start: datetime) -> list[MetricPoint]:
        rows = self._connection.execute(
            f"{_POINT} AND start >= ? ORDER BY start", (node_id, step.seconds, to_us(start))
        )
        return [_point(row) for row in rows]


def _point(row: Sequence[float]) -> MetricPoint:
    start, samples, *means = row
    return MetricPoint(from_us(int(start)), int(samples), Sample(*means))
