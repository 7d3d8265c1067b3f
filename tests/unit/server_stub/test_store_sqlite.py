"""The promises of the store, on real files."""

import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from lattice_agent.wire.results import TaskResult
from server_stub.actions.cancelling import cancel_task
from server_stub.actions.leasing import poll
from server_stub.actions.registry import add_node, add_operator, revoke_operator, rotate_token
from server_stub.actions.reporting import take_results
from server_stub.actions.tasks import show_task
from server_stub.bootstrap import create_operator_token, write_init_token
from server_stub.config import Limits
from server_stub.errors import Refused, SettingsError, StoreError, StoreLockedError
from server_stub.ids import token_digest
from server_stub.rules.accounts import Account
from server_stub.rules.outcomes import describe
from server_stub.rules.usage import Baseline
from server_stub.store.base import Tables
from server_stub.store.records import BY_AGENT, AuditEvent, Credential, StoredInventory
from server_stub.store.sqlite import SqliteStore
from server_stub.store.sqlite.schema import migrate
from server_stub.times import to_us

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EVERYTHING = {"action": None, "node_id": None, "limit": 10_000}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "control.db")


def add(tables: Tables, node_id: str = "n1", token: str = "first") -> None:
    add_node(tables, "op", node_id, "", token, NOW, 10)


def test_what_was_written_is_there_after_opening_again(path: str) -> None:
    store = SqliteStore(path)
    store.write(add)
    store.close()
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    store = SqliteStore(path)
    assert store.node_of(token_digest("first")) == Credential("n1", token_digest("first"), disabled=False)
    store.close()


def test_commits_reach_the_disk(path: str) -> None:
    store = SqliteStore(path)
    connection = store._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    store.close()


def test_a_transaction_that_raises_changes_nothing() -> None:
    store = SqliteStore(":memory:")

    def halfway(tables: Tables) -> None:
        add(tables)
        raise Refused(409, "no")

    with pytest.raises(Refused):
        store.write(halfway)
    assert store.read(lambda tables: tables.nodes.all()) == []
    assert store.node_of(token_digest("first")) is None
    store.write(add)  # and the store goes on working
    store.close()


def test_a_fault_of_the_database_is_a_store_error_and_rolled_back() -> None:
    store = SqliteStore(":memory:")
    store.write(add)

    def twice(tables: Tables) -> None:
        tables.audit.append(AuditEvent(NOW, "op", "x"))
        tables.nodes.add(tables.nodes.all()[0], b"other")

    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: node\.id"):
        store.write(twice)
    assert store.read(lambda tables: tables.audit.newest(action="x", node_id=None, limit=1)) == []
    store.close()


def test_a_read_keeps_nothing() -> None:
    store = SqliteStore(":memory:")
    store.read(add)
    assert store.read(lambda tables: tables.nodes.count()) == 0
    store.close()


def test_credentials_follow_the_commit() -> None:
    store = SqliteStore(":memory:")
    store.write(add)
    store.write(lambda tables: rotate_token(tables, "op", "n1", "second", NOW))
    assert store.node_of(token_digest("first")) is None
    assert store.node_of(token_digest("second")) is not None
    store.write(lambda tables: tables.nodes.set_disabled("n1", True))
    credential = store.node_of(token_digest("second"))
    assert credential is not None
    assert credential.disabled
    for name in ("a", "b"):
        store.write(partial(add_operator, actor="x", name=name, token=f"token {name}", now=NOW, max_operators=9))
    assert store.operator_of(token_digest("token a")) == "a"
    store.write(lambda tables: revoke_operator(tables, "x", "a", NOW))
    assert store.operator_of(token_digest("token a")) is None
    store.close()


def test_one_process_at_a_time(path: str) -> None:
    store = SqliteStore(path)
    with pytest.raises(StoreLockedError, match="is served by another process"):
        SqliteStore(path)
    store.close()
    SqliteStore(path).close()


def database_of(path: str, version: int) -> sqlite3.Connection:
    """A database as a program of that schema version left it, with one node and one user in it."""
    connection = sqlite3.connect(path)
    connection.executescript((Path(__file__).parent / f"schema_{version}.sql").read_text())
    connection.execute(
        "INSERT INTO node (id, name, identity_uuid, token_sha256, created_at, disabled, overrides, metrics)"
        " VALUES ('n1', 'one', 'u', ?, 0, 0, '{}', '{\"load1\": 0.5}')",
        (token_digest("first"),),
    )
    connection.execute(
        "INSERT INTO user (id, name, created_at, enabled, quota_bytes, used_bytes, nodes, alerts)"
        " VALUES ('alice', 'Alice', 0, 1, 100, 90, '[\"n1\"]', '[\"quota:100:80\"]')"
    )
    connection.execute("INSERT INTO user_node VALUES ('alice', 'n1', 90)")
    connection.execute('INSERT INTO baseline VALUES (\'n1\', 0, \'{"core_uptime_sec": 5, "counters": {"alice": 7}}\')')
    connection.commit()
    return connection


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_older_database_is_brought_to_this_version_and_keeps_what_it_holds(path: str, version: int) -> None:
    database_of(path, version).close()
    inventory = StoredInventory("n1", NOW, {"cpu": {"cores": 4}})
    for _ in range(2):  # the second time nothing is left to do
        store = SqliteStore(path)
        node = store.read(lambda tables: tables.nodes.get("n1"))
        assert node is not None
        assert (node.name, node.presence.metrics, node.presence.metrics_detail) == ("one", {"load1": 0.5}, None)
        (alice,) = store.read(lambda tables: tables.usage.users())
        assert alice.account == Account("alice", 90, 100, nodes={"n1"}, alerts={"quota:100:80"})  # type: ignore[arg-type]
        assert alice.per_node == {"n1": 90}
        assert store.read(lambda tables: tables.usage.baseline("n1")) == Baseline(5, {"alice": 7})
        store.write(lambda tables: tables.nodes.set_inventory(inventory))
        assert store.read(lambda tables: tables.nodes.inventory("n1")) == inventory
        store.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_open_tasks_of_an_older_database_go_on(path: str, version: int) -> None:
    """One that waits, one that is leased, one that failed, one that was given up."""
    connection = database_of(path, version)
    expires = to_us(NOW + timedelta(seconds=330))
    states = {"queued": "queued", "leased": "leased", "reported": "failed", "lost": "lost"}
    for number, (state, status) in enumerate(states.items(), 1):
        connection.execute(
            "INSERT INTO task (seq, id, actor, interpreter, script, script_sha256, timeout_sec, output_limit,"
            " created_at, status, reason) VALUES (?, ?, 'op', 'sh', 'true', 'x', 30, 100, 0, ?, '')",
            (number, state, status),
        )
        connection.execute(
            "INSERT INTO target VALUES (?, 'n1', ?, 1, 'lease_of_it', ?, ?, NULL)",
            (number, state, None if state == "queued" else expires, state == "reported"),
        )
    connection.execute("INSERT INTO result VALUES (3, 'n1', 'lease_of_it', 3, 'out', '', 'exit status 3', NULL, 5, 6)")
    connection.commit()
    connection.close()

    store = SqliteStore(path)
    outcomes = store.read(lambda tables: tables.tasks.outcomes(list(states)))
    expected = {"queued": "queued", "leased": "leased", "reported": "failed", "lost": "lost"}
    assert outcomes == {task_id: {word: 1} for task_id, word in expected.items()}
    shown = store.read(lambda tables: show_task(tables, "reported"))
    assert (shown.results[0].stdout, shown.results[0].detail, describe(shown.targets[0]).text) == (
        "out",
        None,
        "failed",
    )
    store.write(lambda tables: cancel_task(tables, "op", "leased", "", NOW))
    result = TaskResult(task_id="leased", lease_id="lease_of_it", exit_code=-1, error="context canceled")
    report = store.write(lambda tables: take_results(tables, "n1", [result], NOW))
    assert report.changed[0].ended
    (handed,) = poll(store, "n1", 3, NOW, 5).tasks
    assert handed.id == "queued"
    leased = store.read(lambda tables: tables.tasks.target("leased", "n1"))
    assert leased is not None
    assert leased.reason == "cancelled by op"
    store.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_new_database_and_one_brought_from_an_older_version_are_alike(tmp_path: Path, version: int) -> None:
    old = database_of(str(tmp_path / "old.db"), version)
    new = sqlite3.connect(tmp_path / "new.db")
    for connection in (old, new):
        migrate(connection)
    names = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view', 'index', 'trigger') ORDER BY name"
    tables = [name for (name,) in new.execute(names)]
    assert [name for (name,) in old.execute(names)] == tables
    for name in tables:
        columns = f"PRAGMA table_xinfo('{name}')"
        assert sorted(map(str, old.execute(columns))) == sorted(map(str, new.execute(columns))), name
    old.close()
    new.close()


def test_a_database_of_a_newer_version_is_refused(path: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99, this program knows 4"):
        SqliteStore(path)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing" / "db")
    with pytest.raises(StoreError, match=f"database {missing}: No such file or directory"):
        SqliteStore(missing)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=f"database {garbage}: file is not a database"):
        SqliteStore(str(garbage))


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'me'", "DELETE FROM audit"])
def test_the_audit_is_append_only(statement: str) -> None:
    store = SqliteStore(":memory:")
    store.write(lambda tables: tables.audit.append(AuditEvent(NOW, "op", "x")))
    with pytest.raises(sqlite3.IntegrityError, match="audit is append-only"):
        store._connection.execute(statement)
    store.close()


def test_busy_agents_do_not_push_out_what_operators_did() -> None:
    store = SqliteStore(":memory:", Limits(audit_events=20))
    store.write(lambda tables: tables.audit.append(AuditEvent(NOW, "op", "kept")))

    def chatter(tables: Tables) -> None:
        for number in range(1_000):
            tables.audit.append(AuditEvent(NOW, "n1", "said", str(number), origin=BY_AGENT))

    store.write(chatter)
    events = store.read(lambda tables: tables.audit.newest(**EVERYTHING))  # type: ignore[arg-type]  # by name
    assert events[-1].action == "kept"
    said = [int(event.target) for event in events[:-1]]
    assert said == list(range(999, 999 - len(said), -1))
    assert 20 <= len(said) <= 20 + 256
    store.close()


def test_the_first_token_is_written_once(path: str, tmp_path: Path) -> None:
    store = SqliteStore(path)
    token_file = tmp_path / "token"
    token_file.write_text("of an earlier start that was killed")
    assert write_init_token(store, str(token_file))
    token = token_file.read_text().strip()
    assert store.operator_of(token_digest(token)) == "admin"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.glob(".*")] == []
    assert not write_init_token(store, str(token_file))
    assert token_file.read_text().strip() == token
    store.close()


def test_a_token_file_that_cannot_be_written_makes_no_operator(path: str, tmp_path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(SettingsError, match=r"init token file .*: No such file or directory"):
        write_init_token(store, str(tmp_path / "missing" / "token"))
    assert store.read(lambda tables: tables.operators.all()) == []
    create_operator_token(store, "op")
    with pytest.raises(Refused, match="operator op exists"):
        create_operator_token(store, "op")
    store.close()
