"""The power fails under the control plane's database: what it has answered is there, what it has not is there or not.

As ``test_power_state`` does it, with the control plane's own store and actions.
"""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from lattice_agent.wire.results import TaskResult
from server_stub.actions.leasing import lease
from server_stub.actions.registry import add_node
from server_stub.actions.reporting import take_results
from server_stub.actions.tasks import create_task
from server_stub.config import Limits
from server_stub.errors import StoreError
from server_stub.rules.task_limits import check_order
from server_stub.store.sqlite import SqliteStore
from tests.crashes import power
from tests.crashes.power import Commit
from tests.rigs.extent import extent

pytestmark = [pytest.mark.sized, pytest.mark.slow]

STEPS: Final = extent(25, 150)
CHOSEN: Final = extent(5, 120)
CUTS: Final = extent(3, 30)
DAMAGES: Final = extent(40, 2000)
LOG_PAGES: Final = 60
"""After so many the log is carried over into the main file; in production 1000."""
NOW: Final = datetime(2026, 8, 14, tzinfo=UTC)
LONG_TEXT: Final = 9_000
NODE: Final = "n1"


class RecordingStore(SqliteStore):
    """Keeps the files as they are before and after each commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits: list[Commit] = []
        super().__init__(str(path))
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")

    def _commit(self) -> None:
        before = self.commits[-1].after if self.commits else power.look(self.path, "")
        super()._commit()
        self.commits.append(Commit(before, power.look(self.path, self.rows(), before)))

    def rows(self) -> str:
        """A digest of all that it remembers."""
        return power.digest(self._connection.iterdump())


@contextmanager
def recorded(place: Path, seed: str) -> Iterator[list[Commit]]:
    """The commits of a life: tasks that are created, leased and reported. The store is open."""
    rng = random.Random(seed)
    place.mkdir()
    with closing(RecordingStore(place / "control.db")) as store:
        store.write(lambda tables: add_node(tables, "op", NODE, NODE, "token", NOW, 10))
        for number in range(STEPS):
            step(store, rng, NOW + timedelta(seconds=number))
        yield store.commits


def step(store: SqliteStore, rng: random.Random, now: datetime) -> None:
    order = check_order([NODE], "sh", "echo " * rng.randrange(1, 500), 30, 65_536)
    store.write(partial(create_task, actor="op", order=order, now=now, limits=Limits()))
    handed = store.write(lambda tables: lease(tables, NODE, 1, now, 8)).tasks
    for task in handed if rng.random() < 0.8 else ():
        text = "x" * rng.randrange(LONG_TEXT)
        result = TaskResult(task_id=task.id, lease_id=task.lease_id, exit_code=0, stdout=text)
        store.write(partial(take_results, node_id=NODE, results=[result], now=now))


def opened(path: Path, main: bytes, log: bytes) -> str:
    """What the control plane finds when it is started again."""
    power.write(path, main, log)
    with closing(RecordingStore(path)) as store:
        return store.rows()


def test_a_power_cut_leaves_the_commit_or_what_was_before(tmp_path: Path) -> None:
    rng = random.Random("server cuts")
    path = tmp_path / "after.db"
    seen = {"before": 0, "after": 0, "checkpoints": 0}
    with recorded(tmp_path / "life", "server") as commits:
        carried = [commit for commit in commits if commit.before.main != commit.after.main]
        for commit in [*rng.sample(commits[1:], CHOSEN), *carried[1 : CHOSEN // 2]]:
            for _ in range(CUTS):
                found = opened(path, *power.cut_in_log(commit, rng))
                assert found in (commit.before.rows, commit.after.rows)
                seen["after" if found == commit.after.rows else "before"] += 1
                assert opened(path, *power.cut_behind(commit, rng)) == commit.after.rows
            for _ in range(CUTS if commit in carried else 0):
                assert opened(path, *power.cut_in_checkpoint(commit, rng)) == commit.after.rows
                seen["checkpoints"] += 1
    assert min(seen.values()) > 0, f"the model has not met everything: {seen}"


@pytest.mark.parametrize("damage", [power.truncated, power.overwritten], ids=["truncated", "overwritten"])
def test_a_damaged_file_says_so_or_opens(tmp_path: Path, damage: power.Damage) -> None:
    rng = random.Random(f"server {damage.__name__}")
    with recorded(tmp_path / "life", "server"):
        pass
    whole = (tmp_path / "life" / "control.db").read_bytes()
    path = tmp_path / "after.db"
    complaints = [complaint(path, damage(whole, rng) or b"\0") for _ in range(DAMAGES)]
    assert sum(map(bool, complaints)) > DAMAGES / 10


def complaint(path: Path, main: bytes) -> str:
    """What the control plane says when it is started on the file and goes over its tasks; empty if nothing."""
    power.write(path, main, b"\0")  # a log, as a life leaves it that did not come to its end
    try:
        with closing(SqliteStore(str(path))) as store:
            store.read(lambda tables: tables.tasks.newest(node_id=None, status=None, limit=1000))
            store.write(lambda tables: lease(tables, NODE, 1, NOW, 8))
    except StoreError as error:
        expect_one_sentence(error)
        return str(error)
    return ""


def expect_one_sentence(error: StoreError) -> None:
    assert "database" in str(error)
    assert "\n" not in str(error)
    assert error.hint()
