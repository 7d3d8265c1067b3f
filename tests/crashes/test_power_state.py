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
from typing import Any, Final

import pytest
import trio

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
ROWS: Final = ("SELECT * FROM task ORDER BY 1, 2, 3", "SELECT * FROM usage_document ORDER BY 1, 2, 3")


def rows_of(connection: sqlite3.Connection) -> list[list[tuple[Any, ...]]]:
    """All that the agent remembers."""
    return [connection.execute(query).fetchall() for query in ROWS]


# --- the life ---


class Recording(sqlite3.Connection):
    """Keeps the files as they are before and after each COMMIT that changes something."""

    commits: list[Commit]
    path: Path

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql != "COMMIT" or not self.in_transaction:
            return super().execute(sql, *parameters)
        before = self.commits[-1].after if self.commits else power.look(self.path, [[], []])
        cursor = super().execute(sql, *parameters)
        after = power.look(self.path, rows_of(self))
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
def recorded(monkeypatch: pytest.MonkeyPatch, place: Path, seed: int) -> Iterator[list[Commit]]:
    """The commits of a life; its connection is open, so nothing is tidied up behind it."""
    Recording.commits, Recording.path = commits, _ = [], place / "state.db"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Recording))
        state = StateDirectory(place)
    with closing(state):
        state.connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        trio.run(Life(state, random.Random(seed)).live, STEPS)
        yield commits


def chosen(commits: list[Commit], rng: random.Random) -> list[Commit]:
    """Some of them, and some that wrote to the main file or began the log anew."""
    special = [number for number, commit in enumerate(commits) if _is_special(commit)]
    numbers = {*rng.sample(special, min(SPECIAL, len(special))), *rng.sample(range(len(commits)), RECORDED)}
    return [commits[number] for number in sorted(numbers)]


def _is_special(commit: Commit) -> bool:
    return commit.before.main != commit.after.main or not commit.after.log.startswith(commit.before.log[:32])


def opened(path: Path, main: bytes, log: bytes) -> list[list[tuple[Any, ...]]]:
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
