"""The power fails during a life of state.db: what was committed is there, and what was being committed is there or not.

The life is the agent's own code (state directory, group commit, spool, usage documents) with seeded steps; every commit
is recorded as the files before and after it. Damage that no power cut explains is told in one sentence that names the
file and what to do.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import trio

from lattice_agent import app
from lattice_agent.errors import StateError
from lattice_agent.state.clock import BootTime
from lattice_agent.state.commit import GroupCommit, call_directly
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import Journal, Phase
from lattice_agent.state.usage_documents import UsageDocuments
from lattice_agent.tasks.decide import Answer, Event, Lease
from lattice_agent.tasks.spool import ALL, Settlement, Spool
from tests.crashes import power
from tests.crashes.power import Commit
from tests.rigs.extent import extent

pytestmark = [pytest.mark.sized, pytest.mark.slow]

SEEDS: Final = extent(1, 8)
STEPS: Final = extent(60, 250)
RECORDED: Final = extent(10, 100)
"""Commits of a life that are looked at, beside those that brought the main file up to date or began the log anew."""
SPECIAL: Final = extent(5, 60)
CUTS: Final = extent(4, 30)
"""Of each kind for each commit."""
DAMAGES: Final = extent(60, 3000)
LOG_PAGES: Final = 40
"""After so many the log is carried over into the main file. In production 1000; the rest of it is the same."""
PLANE, NODE = "https://plane", "node-1"
NOW: Final = BootTime("boot", 100.0)
LONG_TEXT: Final = 9_000
NO_ROWS: Final = power.digest(())
ROWS: Final = ("SELECT * FROM task ORDER BY 1, 2, 3", "SELECT * FROM usage_document ORDER BY 1, 2, 3")


def rows_of(connection: sqlite3.Connection) -> str:
    """A digest of all that the agent remembers."""
    return power.digest(row for query in ROWS for row in connection.execute(query))


# --- the life ---


class Recording(sqlite3.Connection):
    """Keeps the files as they are before and after each COMMIT that changes something."""

    commits: list[Commit]
    path: Path

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT" or not self.in_transaction:
            return super().execute(sql, *parameters)
        before = self.commits[-1].after if self.commits else power.look(self.path, NO_ROWS)
        cursor = super().execute(sql, *parameters)
        after = power.look(self.path, rows_of(self), before)
        if (before.main, before.log) != (after.main, after.log):
            self.commits.append(Commit(before, after))
        return cursor


class Life:
    """Seeded steps through the agent's own code."""

    def __init__(self, state: StateDirectory, rng: random.Random) -> None:
        commit = GroupCommit(state.connection, state.path, call_directly)
        self._spool = Spool(Journal(state.connection, PLANE, NODE), commit)
        self._usage = UsageDocuments(state.connection, commit, PLANE, NODE)
        self._rng = rng
        self._tasks: list[str] = []

    async def live(self, steps: int) -> None:
        for number in range(steps):
            await self._step(number)

    async def _step(self, number: int) -> None:
        choice = self._rng.random()
        if choice < 0.1:
            await self._usage.put({"standing": self._rng.randbytes(300), "pending": self._rng.choice((None, b"{}"))})
        elif choice < 0.4 or not self._tasks:
            self._tasks.append(f"task-{number}")
            await self._spool.take([Lease(self._tasks[-1], "lease", "sh", "echo " * 50, 30, 65_536, NOW)])
        else:
            await self._go_on(self._tasks.pop(self._rng.randrange(len(self._tasks))))

    async def _go_on(self, task: str) -> None:
        await self._spool.start(task)
        await self._spool.finish(task, Event.ENDED, "x" * self._rng.randrange(10, LONG_TEXT))
        if self._rng.random() < 0.7:
            await self._spool.settle([Settlement(task, "lease", Answer.STORED)], NOW)


@contextmanager
def recorded(
    monkeypatch: pytest.MonkeyPatch, place: Path, seed: int, log_pages: int = LOG_PAGES
) -> Iterator[list[Commit]]:
    """The commits of a life; its connection is open, so nothing is tidied up behind it."""
    Recording.commits, Recording.path = commits, _ = [], place / "state.db"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Recording))
        state = StateDirectory(place)
    with closing(state):
        state.connection.execute(f"PRAGMA wal_autocheckpoint = {log_pages}")
        trio.run(Life(state, random.Random(seed)).live, STEPS)
        yield commits


def chosen(commits: list[Commit], rng: random.Random) -> list[Commit]:
    """Some of them, and some that wrote to the main file or began the log anew."""
    special = [number for number, commit in enumerate(commits) if _is_special(commit)]
    numbers = {*rng.sample(special, min(SPECIAL, len(special))), *rng.sample(range(len(commits)), RECORDED)}
    return [commits[number] for number in sorted(numbers)]


def _is_special(commit: Commit) -> bool:
    return commit.before.main != commit.after.main or not commit.after.log.startswith(commit.before.log[:32])


def opened(path: Path, main: bytes, log: bytes) -> str:
    """What the agent finds: with its own code, and all of it."""
    power.write(path, main, log)
    with closing(StateDirectory(path.parent)) as state:
        journal = Journal(state.connection, PLANE, NODE)
        journal.in_phase(*Phase, limit=ALL)
        assert state.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return rows_of(state.connection)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_power_cut_leaves_the_commit_or_what_was_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(f"cuts {seed}")
    path = tmp_path / "after" / "state.db"
    path.parent.mkdir()
    seen = {"before": 0, "after": 0, "checkpoints": 0}
    with recorded(monkeypatch, tmp_path / "life", seed) as commits:
        for commit in chosen(commits, rng):
            for _ in range(CUTS):
                found = opened(path, *power.cut_in_log(commit, rng))
                assert found in (commit.before.rows, commit.after.rows)
                seen["after" if found == commit.after.rows else "before"] += 1
                assert opened(path, *power.cut_behind(commit, rng)) == commit.after.rows
            for _ in range(CUTS if commit.before.main != commit.after.main else 0):
                assert opened(path, *power.cut_in_checkpoint(commit, rng)) == commit.after.rows
                seen["checkpoints"] += 1
    assert min(seen.values()) > 0, f"the model has not met everything: {seen}"


def test_a_power_cut_while_the_file_is_made_leaves_nothing_or_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing was promised before the agent had its state directory."""
    rng = random.Random("made")
    with closing(StateDirectory(tmp_path / "life")) as state:
        whole = power.look(state.path, rows_of(state.connection))
    path = tmp_path / "after" / "state.db"
    path.parent.mkdir()
    for main in (b"", power.torn(b"", whole.main, rng)[: power.SECTOR], whole.main):
        for _ in range(CUTS):
            log = power.torn(b"", whole.log, rng) if main == whole.main else b""
            assert opened(path, main, log) == NO_ROWS


def test_a_log_that_is_cut_or_overwritten_ends_at_some_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a disk leaves that has lied about a sync, as long as nothing was carried over into the main file: never half
    of a commit, and never one without those before it."""
    rng = random.Random("log")
    path = tmp_path / "after" / "state.db"
    path.parent.mkdir()
    with recorded(monkeypatch, tmp_path / "life", 0, log_pages=100_000) as commits:
        states = [commits[0].before, *(commit.after for commit in commits)]
        assert {state.main for state in states[1:]} == {states[-1].main}
    found = [
        opened(path, states[-1].main, rng.choice((power.truncated, power.overwritten))(states[-1].log, rng))
        for _ in range(DAMAGES // 3)
    ]
    known = [state.rows for state in states]
    assert all(rows in known for rows in found)
    assert len({known.index(rows) for rows in found}) > len(found) / 3


async def used(state: StateDirectory) -> tuple[list[str], list[str]]:
    """Task ids and usage documents, read and gone over as the agent does it at its start."""
    commit = GroupCommit(state.connection, state.path, call_directly)
    journal = Journal(state.connection, PLANE, NODE)
    spool = Spool(journal, commit)
    await spool.found_at_start()
    rows = await commit.do(lambda: journal.in_phase(*Phase, limit=ALL))
    await spool.get_all([row.task_id for row in rows])
    documents = await UsageDocuments(state.connection, commit, PLANE, NODE).load()
    await spool.take([Lease("one more", "lease", "sh", "true", 30, 100, NOW)])
    return [row.task_id for row in rows], list(documents)


@pytest.mark.parametrize("damage", [power.truncated, power.overwritten], ids=["truncated", "overwritten"])
def test_a_damaged_file_says_so_or_has_every_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: power.Damage
) -> None:
    """Texts have no checksum, so a changed one may go unnoticed. A row that is missing may not."""
    rng = random.Random(f"{damage.__name__}")
    with recorded(monkeypatch, tmp_path / "life", 0):
        pass
    whole = (tmp_path / "life" / "state.db").read_bytes()  # the log was carried over when it was closed
    path = tmp_path / "after" / "state.db"
    path.parent.mkdir()
    power.write(path, whole, b"")
    with closing(StateDirectory(path.parent)) as state:
        tasks, documents = trio.run(used, state)
    assert len(tasks) > STEPS / 10
    said = [complaint(path, damage(whole, rng) or b"\0", (len(tasks), len(documents))) for _ in range(DAMAGES)]
    assert sum(map(bool, said)) > DAMAGES / 10


def complaint(path: Path, main: bytes, rows: tuple[int, int]) -> str:
    """What the agent says of the file; empty if it can use it, and then it finds so many rows."""
    power.write(path, main, b"")
    try:
        with closing(StateDirectory(path.parent)) as state:
            tasks, documents = trio.run(used, state)
    except StateError as error:
        expect_one_sentence(error, path)
        return str(error)
    assert (len(tasks), len(documents)) == rows
    return ""


def expect_one_sentence(error: StateError, path: Path) -> None:
    assert str(path) in str(error)
    assert "\n" not in str(error)
    assert "move the file aside" in error.hint()


def test_a_file_that_was_emptied_is_missed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty file is what a first start begins with; that it is not the first one is what the audit shows."""
    settings: Any = SimpleNamespace(state=SimpleNamespace(dir=tmp_path))
    with app._open_state(settings) as (_, audit):
        audit.record("task.decided", task_id="task")
    assert not caplog.records
    with app._open_state(settings):
        assert not caplog.records
    power.write(tmp_path / "state.db", b"", b"")
    with app._open_state(settings):
        assert "which tasks have run" in caplog.text
