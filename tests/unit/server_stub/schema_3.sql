-- The tables of schema version 3, as programs before the control stream made them.
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

-- Columns in the order in which tasks.py takes a row apart.
CREATE VIEW task_row AS SELECT
    id, actor, interpreter, script, script_sha256, timeout_sec, output_limit, created_at,
    (SELECT json_group_array(node_id) FROM target WHERE task_seq = seq) AS nodes, status, reason,
    (SELECT max(attempts) FROM target WHERE task_seq = seq) AS attempts, started_at, finished_at, seq
FROM task;
CREATE VIEW target_row AS SELECT
    task.id AS task_id, node_id, state, attempts, lease_id, lease_expires_at, failed, target.finished_at, task_seq
FROM target JOIN task ON seq = task_seq;

CREATE TABLE inventory (
    node_id TEXT PRIMARY KEY REFERENCES node (id), received_at INTEGER NOT NULL, document TEXT NOT NULL
) STRICT;

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
PRAGMA user_version = 3;
