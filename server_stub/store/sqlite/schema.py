"""The tables, and how a database is brought to this version. Times are microseconds since 1970 in UTC."""

import sqlite3
from typing import Final

from server_stub.errors import StoreError

VERSION: Final = 4
"""Kept in ``PRAGMA user_version``; a database from a newer program is refused, never downgraded."""

# A table of its own: up to a megabyte, and never wanted where nodes are listed.
_INVENTORY: Final = """
CREATE TABLE inventory (
    node_id TEXT PRIMARY KEY REFERENCES node (id), received_at INTEGER NOT NULL, document TEXT NOT NULL
) STRICT;
"""

_ACCOUNTING: Final = """
-- One row for each id of a ledger: a report changes those that have moved, not a document of all.
CREATE TABLE ledger (
    number INTEGER PRIMARY KEY, node_id TEXT NOT NULL REFERENCES node (id), id TEXT NOT NULL, seq INTEGER NOT NULL,
    ids INTEGER NOT NULL, used INTEGER NOT NULL, UNIQUE (node_id, id)
) STRICT;
CREATE TABLE ledger_total (
    ledger INTEGER NOT NULL REFERENCES ledger (number) ON DELETE CASCADE, user_id TEXT NOT NULL, total INTEGER NOT NULL,
    PRIMARY KEY (ledger, user_id)
) STRICT, WITHOUT ROWID;

-- The key's order puts what is written now in one place, and what is too old in another.
CREATE TABLE booking (
    span TEXT NOT NULL, start INTEGER NOT NULL, user_id TEXT NOT NULL REFERENCES user (id),
    node_id TEXT NOT NULL REFERENCES node (id), bytes INTEGER NOT NULL,
    PRIMARY KEY (span, start, user_id, node_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX user_by_end ON user (expires_at) WHERE expires_at IS NOT NULL;

-- Columns in the order in which usage.py takes a row apart.
CREATE VIEW user_row AS SELECT
    id, name, created_at, enabled, quota_bytes, used_bytes, expires_at, nodes, alerts, last_seen_at, reset_day,
    period_start, (SELECT json_group_object(node_id, bytes) FROM user_node WHERE user_id = id) AS per_node
FROM user;
"""

_TABLES: Final = """
CREATE TABLE node (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, identity_uuid TEXT NOT NULL, token_sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL, disabled INTEGER NOT NULL, overrides TEXT NOT NULL,
    last_seen INTEGER, agent_version TEXT NOT NULL DEFAULT '', addresses TEXT NOT NULL DEFAULT '{}',
    host_facts TEXT, metrics TEXT, agent_runtime TEXT, metrics_detail TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE operator (
    name TEXT PRIMARY KEY, token_sha256 BLOB NOT NULL UNIQUE, created_at INTEGER NOT NULL, revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE switch (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- seq is the order of creation: the oldest task is leased first.
CREATE TABLE task (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, actor TEXT NOT NULL, interpreter TEXT NOT NULL,
    script TEXT NOT NULL, script_sha256 TEXT NOT NULL, timeout_sec INTEGER NOT NULL, output_limit INTEGER NOT NULL,
    created_at INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    started_at INTEGER, finished_at INTEGER
) STRICT;
CREATE INDEX task_open ON task (seq) WHERE status IN ('queued', 'leased');

CREATE TABLE target (
    task_seq INTEGER NOT NULL REFERENCES task (seq) ON DELETE CASCADE, node_id TEXT NOT NULL REFERENCES node (id),
    state TEXT NOT NULL, attempts INTEGER NOT NULL, lease_id TEXT NOT NULL, lease_expires_at INTEGER,
    failed INTEGER NOT NULL, finished_at INTEGER,
    PRIMARY KEY (task_seq, node_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX target_open ON target (node_id, task_seq) WHERE state IN ('queued', 'leased');

-- The primary key is what makes a second row for a repeated result impossible.
CREATE TABLE result (
    task_seq INTEGER NOT NULL REFERENCES task (seq) ON DELETE CASCADE, node_id TEXT NOT NULL,
    lease_id TEXT NOT NULL, exit_code INTEGER NOT NULL, stdout TEXT NOT NULL, stderr TEXT NOT NULL,
    error TEXT NOT NULL, started_at INTEGER, finished_at INTEGER NOT NULL, received_at INTEGER NOT NULL,
    PRIMARY KEY (task_seq, node_id)
) STRICT;

CREATE TABLE profile (
    node_id TEXT PRIMARY KEY REFERENCES node (id), created_at INTEGER NOT NULL, last_report_at INTEGER,
    source TEXT, status TEXT, error TEXT, checked_at INTEGER
) STRICT, WITHOUT ROWID;

-- JSON, because counters and uptime may exceed SQLite's integers on their way in.
CREATE TABLE baseline (
    node_id TEXT PRIMARY KEY REFERENCES node (id), at INTEGER NOT NULL, document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at INTEGER NOT NULL, enabled INTEGER NOT NULL,
    quota_bytes INTEGER NOT NULL, used_bytes INTEGER NOT NULL, expires_at INTEGER, nodes TEXT NOT NULL,
    alerts TEXT NOT NULL, last_seen_at INTEGER, reset_day INTEGER NOT NULL DEFAULT 0, period_start INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE user_node (
    user_id TEXT NOT NULL REFERENCES user (id), node_id TEXT NOT NULL REFERENCES node (id), bytes INTEGER NOT NULL,
    PRIMARY KEY (user_id, node_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, origin TEXT NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, node_id TEXT NOT NULL, target TEXT NOT NULL, decision TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_origin ON audit (origin, id);

-- Append-only, enforced by the database: no event is changed, and only those at or below the floor may go.
CREATE TABLE audit_floor (origin TEXT PRIMARY KEY, id INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit
WHEN OLD.id > coalesce((SELECT id FROM audit_floor WHERE origin = OLD.origin), 0)
BEGIN SELECT raise(ABORT, 'audit is append-only'); END;
"""

_OPERATION: Final = """
ALTER TABLE node ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE node ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN policy TEXT;
ALTER TABLE operator ADD COLUMN password_hash TEXT;
ALTER TABLE task ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN max_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN queue_timeout_sec INTEGER NOT NULL DEFAULT 0;
ALTER TABLE task ADD COLUMN rerun_of TEXT NOT NULL DEFAULT '';
ALTER TABLE target ADD COLUMN leased_at INTEGER;
ALTER TABLE target ADD COLUMN running_since INTEGER;
ALTER TABLE target ADD COLUMN cancel_requested_at INTEGER;
ALTER TABLE target ADD COLUMN cancel_requested_by TEXT NOT NULL DEFAULT '';
ALTER TABLE target ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE target ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE result ADD COLUMN detail TEXT;

-- What is looked at every few seconds: queued clocks that may fire, and leases whose end was asked for.
CREATE INDEX task_by_queue_clock ON task (created_at + queue_timeout_sec * 1000000)
WHERE queue_timeout_sec > 0 AND status IN ('queued', 'leased');
CREATE INDEX target_by_lease ON target (lease_expires_at) WHERE state = 'leased';
CREATE INDEX target_cancelling ON target (lease_expires_at) WHERE state = 'leased' AND cancel_requested_at IS NOT NULL;

-- Columns in the order in which tasks.py takes a row apart.
CREATE VIEW task_row AS SELECT
    id, actor, interpreter, script, script_sha256, timeout_sec, output_limit, created_at,
    (SELECT json_group_array(node_id) FROM target WHERE task_seq = seq) AS nodes, status, reason,
    (SELECT max(attempts) FROM target WHERE task_seq = seq) AS attempts, started_at, finished_at,
    concurrency, max_failures, queue_timeout_sec, rerun_of, seq
FROM task;
CREATE VIEW target_row AS SELECT
    task.id AS task_id, node_id, state, attempts, lease_id, lease_expires_at, failed, target.finished_at,
    leased_at, running_since, cancel_requested_at, cancel_requested_by, outcome, target.reason, task_seq
FROM target JOIN task ON seq = task_seq;

-- Means over a step (seconds), which begins at start; one row for each, so that history is bounded by time alone.
CREATE TABLE metric (
    node_id TEXT NOT NULL REFERENCES node (id), step INTEGER NOT NULL, start INTEGER NOT NULL, samples INTEGER NOT NULL,
    cpu REAL NOT NULL, load1 REAL NOT NULL, memory REAL NOT NULL, disk REAL NOT NULL, rx REAL NOT NULL,
    tx REAL NOT NULL, PRIMARY KEY (node_id, step, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    digest BLOB PRIMARY KEY, operator TEXT NOT NULL REFERENCES operator (name), csrf TEXT NOT NULL,
    created_at INTEGER NOT NULL, used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

_FROM_1: Final = "ALTER TABLE node ADD COLUMN metrics_detail TEXT;" + _INVENTORY
_FROM_2: Final = (
    "DROP VIEW user_row; ALTER TABLE user ADD COLUMN reset_day INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE user ADD COLUMN period_start INTEGER;" + _ACCOUNTING
)

_FROM_3: Final = "DROP VIEW task_row; DROP VIEW target_row;" + _OPERATION

_STEPS: Final = {
    0: _TABLES + _INVENTORY + _ACCOUNTING + _OPERATION,
    1: _FROM_1 + _FROM_2 + _FROM_3,
    2: _FROM_2 + _FROM_3,
    3: _FROM_3,
}
"""By the version that is found, what makes ``VERSION`` of it."""


def migrate(connection: sqlite3.Connection) -> None:
    """Creates the tables in an empty database, or brings an older one to this version.

    ``StoreError`` for one of a version that is not known.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version not in _STEPS:
        raise StoreError(
            f"database has schema version {version}, this program knows {VERSION}",
            hint="use the version of lattice-control that wrote it, or a newer one",
        )
    # One transaction: a kill in between leaves the database as it was, and the next start begins again.
    connection.executescript(f"BEGIN IMMEDIATE; {_STEPS[version]} PRAGMA user_version = {VERSION}; COMMIT;")
