"""The task journal: what was leased, started, finished and answered, keyed by control plane, node id and task id.

A row is the promise that its task id is started at most once. It lives from the first lease until 24 hours after
the result was accepted, at the earliest. All functions are synchronous and run inside a transaction of
``state.commit``; which transition is allowed is decided in ``tasks.decide``, not here.
"""

import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from lattice_agent.state.clock import BootTime

KEPT_AFTER_ACCEPTED_S: Final = 24 * 3600
DEAD_TEXT_BOUND: Final = 16 * 1024 * 1024
"""Bytes of result text kept of refused and rejected results; beyond it the oldest lose theirs."""
KEPT_REFUSED_S: Final = 30 * 24 * 3600
"""Refused and rejected rows wait for a new lease of their task id; after so long none comes any more."""
ACCEPTED_TEXT_BOUND: Final = 64 * 1024 * 1024
"""Bytes of result text kept of accepted results, needed only if the server forgets that it has them."""


class Phase(StrEnum):
    """Where a task is. The table of transitions is in ``tasks.decide``."""

    WAITING = "waiting"
    """Leased, not started."""
    RUNNING = "running"
    """Started; found in this phase at start-up it was interrupted by a crash."""
    FINISHED = "finished"
    """Has a result that the server has not answered for good."""
    ACCEPTED = "accepted"
    """The server has the result."""
    REFUSED = "refused"
    """403: the lease was dead. The result waits for a new lease of the same task id."""
    REJECTED = "rejected"
    """400 even with empty streams: this server will not take the result under this lease."""
    GIVEN_UP = "given-up"
    """The lease died before the start; nothing ran."""


SETTLED: Final = frozenset({Phase.ACCEPTED, Phase.REFUSED, Phase.REJECTED, Phase.GIVEN_UP})


@dataclass(frozen=True)
class TaskRow:
    """One row. ``result`` is the wire form (JSON) or None; ``since`` is when the newest lease came, or, in a settled
    phase, when that phase began."""

    task_id: str
    phase: Phase
    lease_id: str
    interpreter: str
    script: str | None
    timeout_sec: int
    output_limit: int
    since: BootTime
    order_no: int = 0
    result: str | None = None
    shrunk: int = 0


_COLUMNS: Final = (
    "task_id, phase, lease_id, interpreter, script, timeout_sec, output_limit, boot_id, boot_seconds, order_no, "
    "result, shrunk"
)


def _row(values: tuple[object, ...]) -> TaskRow:
    """Raises sqlite3.DatabaseError for what was never written so."""
    (task_id, phase, lease_id, interpreter, script, timeout_sec, limit, boot_id, seconds, order_no, result, shrunk) = (
        values
    )
    try:
        known_phase = Phase(str(phase))
    except ValueError as error:
        raise sqlite3.DatabaseError(f"the row of task {task_id!r} is malformed: {error}") from None
    return TaskRow(
        str(task_id),
        known_phase,
        str(lease_id),
        str(interpreter),
        None if script is None else str(script),
        int(str(timeout_sec)),
        int(str(limit)),
        BootTime(str(boot_id), float(str(seconds))),
        int(str(order_no)),
        None if result is None else str(result),
        int(str(shrunk)),
    )


class Journal:
    """The rows of one control plane and node."""

    def __init__(self, connection: sqlite3.Connection, control_plane: str, node_id: str) -> None:
        self._db = connection
        self._key = (control_plane, node_id)

    def get(self, task_id: str) -> TaskRow | None:
        """The row of a task id, or None if it was never leased (or forgotten after 24 h)."""
        found = self._select("AND task_id = ?", task_id)
        return found[0] if found else None

    def put(self, row: TaskRow) -> TaskRow:
        """Insert or replace; a row with order_no 0 gets the next number. Returns what was stored."""
        order_no = row.order_no or self._next_order()
        self._db.execute(
            "INSERT OR REPLACE INTO task (control_plane, node_id, " + _COLUMNS + ", result_bytes)"  # noqa: S608  # constants
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *self._key,
                row.task_id,
                row.phase.value,
                row.lease_id,
                row.interpreter,
                row.script,
                row.timeout_sec,
                row.output_limit,
                row.since.boot_id,
                row.since.seconds,
                order_no,
                row.result,
                row.shrunk,
                len(row.result.encode()) if row.result else 0,
            ),
        )
        return replace(row, order_no=order_no)

    def in_phase(self, *phases: Phase, limit: int) -> list[TaskRow]:
        """At most ``limit`` rows in any of the phases (-1: all), oldest first."""
        marks = ", ".join("?" * len(phases))
        return self._select(f"AND phase IN ({marks}) ORDER BY order_no LIMIT ?", *(p.value for p in phases), limit)

    def finished_heads(self, limit: int) -> list[tuple[str, int]]:
        """(task id, bytes of its result) of results that wait to be sent, oldest first: without their texts."""
        rows = self._db.execute(
            "SELECT task_id, result_bytes FROM task WHERE control_plane = ? AND node_id = ? AND phase = ?"
            " ORDER BY order_no LIMIT ?",
            (*self._key, Phase.FINISHED.value, limit),
        ).fetchall()
        return [(str(task_id), int(size)) for task_id, size in rows]

    def unsent(self) -> tuple[int, int]:
        """(number, bytes) of results that wait to be sent: what the spool's bound counts."""
        count, size = self._db.execute(
            "SELECT count(*), coalesce(sum(result_bytes), 0) FROM task"
            " WHERE control_plane = ? AND node_id = ? AND phase = ?",
            (*self._key, Phase.FINISHED.value),
        ).fetchone()
        return int(count), int(size)

    def drop_text_beyond(self, phases: tuple[Phase, ...], bound: int, replacement: str) -> int:
        """Replace the oldest result texts of the phases until the rest fits ``bound`` bytes; returns how many."""
        marks = ", ".join("?" * len(phases))
        names = [p.value for p in phases]
        where = f"control_plane = ? AND node_id = ? AND phase IN ({marks}) AND result_bytes > ?"
        floor = len(replacement.encode())
        dropped = 0
        # Newest first: keep while the running sum fits, replace all older ones.
        kept = 0
        for task_id, size in self._db.execute(
            f"SELECT task_id, result_bytes FROM task WHERE {where} ORDER BY order_no DESC",  # noqa: S608  # constants
            (*self._key, *names, floor),
        ).fetchall():
            kept += int(size)
            if kept > bound:
                self._db.execute(
                    "UPDATE task SET result = ?, result_bytes = ? WHERE control_plane = ? AND node_id = ?"
                    " AND task_id = ?",
                    (replacement, floor, *self._key, task_id),
                )
                dropped += 1
        return dropped

    def prune(self, now: BootTime) -> int:
        """Forget accepted and given-up rows after 24 h, refused and rejected ones after 30 days; returns how many.

        After a reboot the age of a row is not known, so its time starts again: a row is kept too long rather than
        too short.
        """
        self._db.execute(
            "UPDATE task SET boot_id = ?, boot_seconds = ? WHERE control_plane = ? AND node_id = ? AND boot_id <> ?"
            " AND phase IN (?, ?, ?, ?)",
            (now.boot_id, now.seconds, *self._key, now.boot_id, *sorted(p.value for p in SETTLED)),
        )
        return sum(
            self._db.execute(
                "DELETE FROM task WHERE control_plane = ? AND node_id = ? AND phase IN (?, ?) AND boot_id = ?"
                " AND boot_seconds < ?",
                (*self._key, *phases, now.boot_id, now.seconds - kept_s),
            ).rowcount
            for phases, kept_s in (
                ((Phase.ACCEPTED.value, Phase.GIVEN_UP.value), KEPT_AFTER_ACCEPTED_S),
                ((Phase.REFUSED.value, Phase.REJECTED.value), KEPT_REFUSED_S),
            )
        )

    def _select(self, condition: str, *values: object) -> list[TaskRow]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM task WHERE control_plane = ? AND node_id = ? {condition}",  # noqa: S608  # constants
            (*self._key, *values),
        ).fetchall()
        return [_row(values) for values in rows]

    def _next_order(self) -> int:
        (value,) = self._db.execute(
            "INSERT INTO counter VALUES ('order', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
        ).fetchone()
        return int(value)
