"""Tasks, targets and results in SQLite."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from lattice_agent.wire.base import encode, parse
from lattice_agent.wire.results import RunDetail
from server_stub.rules.fan_out import NO_LIMITS, FanOut
from server_stub.rules.leases import Grant
from server_stub.rules.outcomes import Ending, word_of
from server_stub.rules.results import Result
from server_stub.rules.states import Target, TargetState, TaskOutcome, TaskStatus
from server_stub.store.records import StoredResult, Task
from server_stub.times import from_us, opt_from_us, opt_to_us, to_us

_TASK_COLUMNS: Final = 19
"""Of the view ``task_row``; ``target_row`` follows where both are asked for."""
_NEWEST: Final = (
    " WHERE (:status IS NULL OR status = :status) AND (:node IS NULL OR EXISTS"
    " (SELECT 1 FROM target WHERE task_seq = seq AND node_id = :node)) ORDER BY seq DESC LIMIT :limit"
)
_TASKS: Final = "SELECT * FROM task_row"
_TASK_IDS: Final = "SELECT id FROM task"
_RESULTS: Final = (
    "SELECT node_id, exit_code, stdout, stderr, error, started_at, finished_at, received_at, detail FROM result"
    " WHERE task_seq = (SELECT seq FROM task WHERE id = ?)"
)
_BARE_RESULTS: Final = _RESULTS.replace("stdout, stderr", "'', ''")
_PRUNE_EVERY: Final = 64
"""Tasks created between two looks at the retention, so that its cost is spread."""


class SqliteTasks:
    """``TaskTable``. Ended tasks are kept, newest first, until their targets exceed ``keep_targets``."""

    def __init__(self, connection: sqlite3.Connection, keep_targets: int) -> None:
        self._connection = connection
        self._keep_targets = keep_targets

    def add(self, task: Task) -> None:
        seq = self._connection.execute(
            "INSERT INTO task (id, actor, interpreter, script, script_sha256, timeout_sec, output_limit, created_at,"
            " status, reason, concurrency, max_failures, queue_timeout_sec, rerun_of)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(task.id, task.actor, task.interpreter, task.script, task.script_sha256, task.timeout_sec),
                *(task.output_limit, to_us(task.created_at), task.status, task.reason),
                *(task.concurrency, task.max_failures, task.queue_timeout_sec, task.rerun_of),
            ),
        ).lastrowid
        self._connection.executemany(
            "INSERT INTO target (task_seq, node_id, state, attempts, lease_id, failed) VALUES (?, ?, ?, 0, '', 0)",
            [(seq, node_id, TargetState.QUEUED) for node_id in task.nodes],
        )
        if seq is not None and seq % _PRUNE_EVERY == 0:
            self._prune()

    def get(self, task_id: str) -> Task | None:
        row = self._connection.execute(f"{_TASKS} WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else _task(row)

    def newest(self, *, node_id: str | None, status: str | None, limit: int) -> list[Task]:
        wanted = {"status": status, "node": node_id, "limit": limit}
        return [_task(row) for row in self._connection.execute(f"{_TASKS}{_NEWEST}", wanted)]

    def newest_ids(self, *, node_id: str | None, status: str | None, limit: int) -> list[str]:
        wanted = {"status": status, "node": node_id, "limit": limit}
        return [task_id for (task_id,) in self._connection.execute(f"{_TASK_IDS}{_NEWEST}", wanted)]

    def open_count(self) -> int:
        (number,) = self._connection.execute(
            "SELECT count(*) FROM task WHERE status IN ('queued', 'leased')"
        ).fetchone()
        return int(number)

    def due(self, node_id: str, now: datetime, limit: int) -> list[tuple[Task, Target]]:
        rows = self._connection.execute(
            # The condition on state is the index's own: without it SQLite would walk every target.
            "SELECT task_row.*, target_row.* FROM target_row JOIN task_row ON seq = task_seq"
            " WHERE node_id = :node AND state IN ('queued', 'leased') AND coalesce(lease_expires_at, 0) < :now"
            " AND (concurrency = 0 OR concurrency > (SELECT count(*) FROM target AS other"
            " WHERE other.task_seq = seq AND other.state = 'leased' AND other.lease_expires_at >= :now))"
            " ORDER BY task_seq LIMIT :limit",
            {"node": node_id, "now": to_us(now), "limit": limit},
        )
        return [(_task(row[:_TASK_COLUMNS]), _target(row[_TASK_COLUMNS:])) for row in rows]

    def waiting_nodes(self) -> list[str]:
        rows = self._connection.execute(
            # The first condition on state is the index's own.
            "SELECT DISTINCT node_id FROM target WHERE state IN ('queued', 'leased') AND state = 'queued'"
        )
        return [node_id for (node_id,) in rows]

    def overdue(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT id, node_id FROM task JOIN target ON task_seq = seq WHERE queue_timeout_sec > 0"
            " AND status IN ('queued', 'leased') AND created_at + queue_timeout_sec * 1000000 < ? AND state = 'queued'"
            " LIMIT ?",
            (to_us(now), limit),
        )
        return [(task_id, node_id) for task_id, node_id in rows]

    def unconfirmed(self, now: datetime, limit: int) -> list[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT id, node_id FROM target JOIN task ON seq = task_seq WHERE state = 'leased'"
            " AND cancel_requested_at IS NOT NULL AND lease_expires_at < ? LIMIT ?",
            (to_us(now), limit),
        )
        return [(task_id, node_id) for task_id, node_id in rows]

    def lapsed(self, since: datetime, until: datetime, limit: int) -> list[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT id, node_id FROM target JOIN task ON seq = task_seq"
            " WHERE state = 'leased' AND lease_expires_at >= ? AND lease_expires_at < ? LIMIT ?",
            (to_us(since), to_us(until), limit),
        )
        return [(task_id, node_id) for task_id, node_id in rows]

    def cancel_requests(self, node_id: str) -> list[str]:
        rows = self._connection.execute(
            # The first condition on state is the index's own.
            "SELECT id FROM target JOIN task ON seq = task_seq WHERE node_id = ? AND state IN ('queued', 'leased')"
            " AND state = 'leased' AND cancel_requested_at IS NOT NULL ORDER BY seq",
            (node_id,),
        )
        return [task_id for (task_id,) in rows]

    def fan_out(self, task_id: str) -> FanOut:
        row = self._connection.execute("SELECT concurrency, max_failures FROM task WHERE id = ?", (task_id,)).fetchone()
        return NO_LIMITS if row is None else FanOut(*row)

    def outcomes(self, task_ids: Sequence[str]) -> dict[str, dict[str, int]]:
        rows = self._connection.execute(
            "SELECT task.id, state, outcome, failed, running_since IS NOT NULL AS running, count(*)"
            " FROM json_each(?) AS wanted JOIN task ON task.id = wanted.value JOIN target ON task_seq = seq"
            " GROUP BY task.id, state, outcome, failed, running",
            (json.dumps(list(task_ids)),),
        )
        counts: dict[str, dict[str, int]] = {}
        for task_id, state, outcome, failed, running, number in rows:
            word = word_of(TargetState(state), outcome, bool(failed), bool(running))
            of_task = counts.setdefault(task_id, {})
            of_task[word] = of_task.get(word, 0) + number
        return counts

    def target(self, task_id: str, node_id: str) -> Target | None:
        row = self._connection.execute(
            "SELECT * FROM target_row WHERE task_id = ? AND node_id = ?", (task_id, node_id)
        ).fetchone()
        return None if row is None else _target(row)

    def targets(self, task_id: str) -> list[Target]:
        rows = self._connection.execute("SELECT * FROM target_row WHERE task_id = ? ORDER BY node_id", (task_id,))
        return [_target(row) for row in rows]

    def grant(self, grant: Grant, node_id: str, lease_id: str, at: datetime) -> None:
        self._connection.execute(
            "UPDATE target SET state = 'leased', attempts = ?, lease_id = ?, lease_expires_at = ?, leased_at = ?,"
            " running_since = NULL WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?",
            (grant.attempt, lease_id, to_us(grant.expires_at), to_us(at), grant.task_id, node_id),
        )
        self._connection.execute(
            "UPDATE task SET started_at = coalesce(started_at, ?) WHERE id = ?", (to_us(at), grant.task_id)
        )

    def set_running(self, task_id: str, node_id: str, lease_id: str, at: datetime) -> bool:
        changed = self._connection.execute(
            "UPDATE target SET running_since = ? WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?"
            " AND lease_id = ? AND state = 'leased' AND running_since IS NULL",
            (to_us(at), task_id, node_id, lease_id),
        )
        return changed.rowcount == 1

    def request_cancel(self, task_id: str, node_id: str, actor: str, at: datetime) -> None:
        self._connection.execute(
            "UPDATE target SET cancel_requested_at = ?, cancel_requested_by = ?"
            " WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?"
            " AND cancel_requested_at IS NULL",
            (to_us(at), actor, task_id, node_id),
        )

    def end(self, task_id: str, node_id: str, state: TargetState, ending: Ending, at: datetime) -> None:
        self._connection.execute(
            "UPDATE target SET state = ?, outcome = ?, reason = ?, finished_at = ?"
            " WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?",
            (state, ending.outcome, ending.text, to_us(at), task_id, node_id),
        )

    def put_result(self, result: Result, ending: Ending, received_at: datetime) -> None:
        self._connection.execute(
            "INSERT INTO result (task_seq, node_id, lease_id, exit_code, stdout, stderr, error, started_at,"
            " finished_at, received_at, detail)"
            " VALUES ((SELECT seq FROM task WHERE id = ?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(result.task_id, result.node_id, result.lease_id, result.exit_code),
                *(result.stdout, result.stderr, result.error),
                *(opt_to_us(result.started_at), to_us(result.finished_at), to_us(received_at)),
                None if result.detail is None else encode(result.detail).decode(),
            ),
        )
        self._connection.execute(
            "UPDATE target SET state = 'reported', failed = ?, finished_at = ?, outcome = ?, reason = ?"
            " WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?",
            (
                *(result.failed, to_us(result.finished_at), ending.outcome, ending.text),
                *(result.task_id, result.node_id),
            ),
        )

    def result(self, task_id: str, node_id: str) -> Result | None:
        row = self._connection.execute(
            "SELECT lease_id, exit_code, stdout, stderr, error, started_at, finished_at, detail FROM result"
            " WHERE task_seq = (SELECT seq FROM task WHERE id = ?) AND node_id = ?",
            (task_id, node_id),
        ).fetchone()
        if row is None:
            return None
        lease_id, exit_code, stdout, stderr, error, started, finished, detail = row
        times = (opt_from_us(started), from_us(finished))
        told = None if detail is None else parse(RunDetail, json.loads(detail))
        return Result(task_id, node_id, lease_id, exit_code, stdout, stderr, error, *times, told)

    def results(self, task_id: str, *, streams: bool = True) -> list[StoredResult]:
        found = _RESULTS if streams else _BARE_RESULTS
        return [_stored_result(row) for row in self._connection.execute(f"{found} ORDER BY node_id", (task_id,))]

    def stored_result(self, task_id: str, node_id: str) -> StoredResult | None:
        row = self._connection.execute(f"{_RESULTS} AND node_id = ?", (task_id, node_id)).fetchone()
        return None if row is None else _stored_result(row)

    def set_outcome(self, task_id: str, outcome: TaskOutcome) -> None:
        self._connection.execute(
            "UPDATE task SET status = ?, reason = ?, finished_at = ? WHERE id = ?",
            (outcome.status, outcome.reason, opt_to_us(outcome.finished_at), task_id),
        )

    def _prune(self) -> None:
        self._connection.execute(
            "DELETE FROM task WHERE status NOT IN ('queued', 'leased') AND seq <= (SELECT g.task_seq FROM target g"
            " JOIN task t ON t.seq = g.task_seq WHERE t.status NOT IN ('queued', 'leased')"
            " ORDER BY g.task_seq DESC LIMIT 1 OFFSET ?)",
            (self._keep_targets,),
        )


def _task(row: tuple[Any, ...]) -> Task:
    task_id, actor, interpreter, script, sha256, timeout, limit, created, nodes, *rest = row
    status, reason, attempts, started, finished, *fan_out, _seq = rest
    return Task(
        *(task_id, actor, interpreter, script, sha256, timeout, limit, from_us(created)),
        tuple(sorted(json.loads(nodes))),
        *(TaskStatus(status), reason, attempts, opt_from_us(started), opt_from_us(finished)),
        *fan_out,
    )


def _target(row: tuple[Any, ...]) -> Target:
    task_id, node_id, state, attempts, lease_id, expires, failed, finished, *more, _task_seq = row
    leased, running, cancel_requested, cancel_requested_by, outcome, reason = more
    return Target(
        *(task_id, node_id, TargetState(state), attempts, lease_id),
        *(opt_from_us(expires), bool(failed), opt_from_us(finished)),
        *(opt_from_us(leased), opt_from_us(running), opt_from_us(cancel_requested)),
        *(cancel_requested_by, outcome, reason),
    )


def _stored_result(row: tuple[Any, ...]) -> StoredResult:
    node_id, exit_code, stdout, stderr, error, started, finished, received, detail = row
    times = (opt_from_us(started), from_us(finished), from_us(received))
    told = None if detail is None else json.loads(detail)
    return StoredResult(node_id, exit_code, stdout, stderr, error, *times, told)
