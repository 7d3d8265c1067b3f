"""What is on the node's own disk, after a crash, a full disk, or somebody's hand: the audit, the journal, secrets."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from typing import Final

import trio

from lattice_agent.audit import AuditLog, Stamp, history, verify
from lattice_agent.cli.scrub import resume_descriptor
from lattice_agent.config.trust import read_secret_file
from lattice_agent.errors import ConfigError, StateError, UsageError
from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import Journal, Phase, TaskRow
from lattice_agent.state.usage_documents import UsageDocuments, read_usage_documents
from lattice_agent.tasks.shape import RESULT_BOUND, RawResult, encoded_size, shape, shrink
from lattice_agent.tasks.spool import Spool
from lattice_agent.wire.base import WireError, decode
from lattice_agent.wire.results import TaskResult
from tests.fuzz.form import scratch, text
from tests.fuzz.target import Target

_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_STAMP: Final = Stamp(_AT, "boot", 1)


def _audit(data: bytes) -> None:
    """Whatever the file holds, it can be gone on with; what was sound before is sound after, what is new always is."""
    path = scratch() / "audit.log"
    path.write_bytes(data)
    before = verify(history(path))
    with AuditLog(path, now=lambda: _STAMP) as audit:
        audit.record("task.decided", task_id="task_1")
        audit.record("task.ended", task_id="task_1")
    after = verify(history(path))
    assert path.read_bytes().startswith(data), "the record is appended to, never rewritten"
    assert before is not None or after is None, after


def _chain(data: bytes) -> None:
    """A chain with some bytes put in or cut out does not hold, unless nothing was changed."""
    sound = _sound_chain()
    at, cut, put = (data[0] * len(sound) // 256, data[1] % 8, data[2:10]) if len(data) > 2 else (0, 0, b"")
    changed = sound[:at] + put + sound[at + cut :]
    path = scratch() / "chain.log"
    path.write_bytes(changed)
    broken = verify([path])
    is_cut_between_records = (sound.endswith(changed) and changed[:1] == b"{") or sound.startswith(changed)
    assert broken is not None or changed == sound or is_cut_between_records, changed[:300]


@cache
def _sound_chain() -> bytes:
    path = scratch() / "sound.log"
    with AuditLog(path, now=lambda: _STAMP) as audit:
        for number in range(4):
            audit.record("task.ended", task_id=f"task_{number}", killed=number)
    return path.read_bytes()


def _journal(data: bytes) -> None:
    """A row with these texts is read as it was written; its result can be sent, or is said to be none."""
    task_id, _, rest = text(data).partition("\n")
    phase, _, result = rest.partition("\n")
    with closing(_database()) as connection:
        journal = Journal(connection, "https://a", "n1")
        row = TaskRow(task_id, _phase(phase), "lease_1", "sh", None, 30, 1, since=_since(), result=result)
        assert journal.get(task_id) is None
        stored = journal.put(row)
        assert journal.get(task_id) == stored
        assert journal.finished_heads(10) == ([(task_id, len(result.encode()))] if row.phase is Phase.FINISHED else [])
        journal.prune(_since())
        connection.rollback()
    decode(TaskResult, result.encode())


def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    _template().backup(connection)
    return connection


@cache
def _template() -> sqlite3.Connection:
    return StateDirectory(scratch() / "state").connection


def _damaged(data: bytes) -> None:
    """A sound ``state.db`` with bytes written over it at places of the input: it is used, or said to be damaged."""
    content = bytearray(_sound_database())
    for at in range(0, len(data) - 3, 8):
        place = int.from_bytes(data[at : at + 2]) * 3 % len(content)
        content[place : place + 5] = data[at + 2 : at + 7]
    folder = scratch() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "state.db").write_bytes(content)
    directory = StateDirectory(folder)
    try:
        trio.run(_use, directory)
    finally:
        directory.close()
    read_usage_documents(folder / "state.db", "https://a", "n1")


async def _use(directory: StateDirectory) -> None:
    commit = GroupCommit(directory.connection, directory.path, call_directly)
    spool = Spool(Journal(directory.connection, "https://a", "n1"), commit)
    waiting, running = await spool.found_at_start()
    await spool.unsent()
    await spool.to_send(10)
    await spool.get_all([row.task_id for row in (*waiting, *running)])
    await spool.tidy(BootTime("boot", 1.0))
    await UsageDocuments(directory.connection, commit, "https://a", "n1").load()


@cache
def _sound_database() -> bytes:
    folder = scratch() / "sound"
    directory = StateDirectory(folder)
    journal = Journal(directory.connection, "https://a", "n1")
    for number, phase in enumerate(Phase):
        script = "echo" if phase is Phase.WAITING else None
        journal.put(TaskRow(f"task_{number}", phase, "lease_1", "sh", script, 30, 65_536, BootTime("boot", 1.0)))
    directory.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    directory.close()
    return (folder / "state.db").read_bytes()


def _phase(word: str) -> Phase:
    return Phase(word) if word in set(Phase) else Phase.FINISHED


def _since() -> BootTime:
    return BootTime("boot", 1.0)


def _result(data: bytes) -> None:
    """Whatever a script printed, what leaves fits the server, and shrinks until it is empty."""
    out, _, err = data.partition(b"\f")
    limit = len(data) // 2 + 1
    raw = RawResult(0, out, err, 0, 0, text(err)[:50], _AT, _AT)
    result: TaskResult | None = shape("task_1", "n1", raw, limit)
    for times in range(20):
        if result is None:
            return
        assert max(len(part.encode()) for part in (result.stdout, result.stderr, result.error)) <= limit
        assert encoded_size(result) <= RESULT_BOUND
        result = shrink(result, times, limit)
    raise AssertionError("a result that never gets small enough")


def _secret_file(data: bytes) -> None:
    path = scratch() / "token"
    path.write_bytes(data)
    secret, _ = read_secret_file(path, what="the node token")
    assert secret == secret.strip()
    assert secret


def _resumed(data: bytes) -> None:
    descriptor = resume_descriptor(text(data).split("\n"))
    assert descriptor is None or descriptor >= 0


TARGETS: Final = (
    Target("state.audit", ("lattice_agent.audit",), _audit, (StateError,),
           "is appended to, never rewritten; a sound record stays sound"),
    Target("state.chain", ("lattice_agent.audit",), _chain, (), "a change within the chain is seen", longest=64),
    Target("state.journal", ("lattice_agent.state.journal",), _journal, (WireError,), "a row reads as it was written"),
    Target("state.damaged", ("lattice_agent.state.db", "lattice_agent.state.usage_documents"), _damaged, (StateError,),
           "it is used, or said to be damaged", longest=2_048),
    Target("state.result", ("lattice_agent.tasks.shape",), _result, (), "fits the server, and shrinks to nothing"),
    Target("state.secret_file", ("lattice_agent.config.trust",), _secret_file, (ConfigError,), "not empty, no blanks",
           longest=8_192),
    Target("state.resumed", ("lattice_agent.cli.scrub",), _resumed, (UsageError,), longest=1_024),
)  # fmt: skip
