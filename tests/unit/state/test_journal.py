"""The task journal on a real SQLite file."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lattice_agent.state.clock import BootTime, boot_time
from lattice_agent.state.db import StateDirectory
from lattice_agent.state.journal import KEPT_AFTER_ACCEPTED_S, KEPT_REFUSED_S, Journal, Phase, TaskRow


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    directory = StateDirectory(tmp_path)
    yield directory
    directory.close()


@pytest.fixture
def journal(state: StateDirectory) -> Journal:
    return Journal(state.connection, "https://plane", "node-1")


def row(task_id: str, phase: Phase = Phase.WAITING, **changes: object) -> TaskRow:
    script = "echo" if phase is Phase.WAITING else None
    base = TaskRow(task_id, phase, "lease", "sh", script, 30, 100, BootTime("boot-a", 10.0))
    return replace(base, **changes)  # type: ignore[arg-type]


def test_what_is_put_is_found(journal: Journal) -> None:
    stored = journal.put(row("a", script="echo \x00 é", result='{"é":1}', shrunk=2))
    assert stored.order_no == 1
    assert journal.get("a") == stored
    assert journal.get("b") is None


def test_rows_of_another_node_or_control_plane_are_not_ours(state: StateDirectory, journal: Journal) -> None:
    journal.put(row("a"))
    assert Journal(state.connection, "https://plane", "node-2").get("a") is None
    assert Journal(state.connection, "https://other", "node-1").get("a") is None


def test_oldest_first_and_bounded(journal: Journal) -> None:
    for name in "cab":
        journal.put(row(name, Phase.FINISHED, result="{}"))
    assert [r.task_id for r in journal.in_phase(Phase.FINISHED, limit=2)] == ["c", "a"]


def test_spool_counts_only_what_waits_to_be_sent(journal: Journal) -> None:
    journal.put(row("a", Phase.FINISHED, result="x" * 10))
    journal.put(row("b", Phase.REFUSED, result="x" * 1000))
    journal.put(row("c", Phase.REJECTED, result="x" * 1000))
    journal.put(row("d", Phase.ACCEPTED, result="x" * 1000))
    assert journal.unsent() == (1, 10)


def test_beyond_the_bound_the_oldest_lose_their_text_but_not_their_id(journal: Journal) -> None:
    for name in "abcd":
        journal.put(row(name, Phase.REFUSED, result=name * 100))
    assert journal.drop_text_beyond((Phase.REFUSED,), 250, "lost") == 2
    results = {name: journal.get(name) for name in "abcd"}
    assert [r.result for r in results.values() if r] == ["lost", "lost", "c" * 100, "d" * 100]
    assert journal.drop_text_beyond((Phase.REFUSED,), 250, "lost") == 0


def test_a_script_is_kept_only_while_it_waits(journal: Journal) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        journal.put(row("a", Phase.RUNNING, script="echo"))


def test_heads_are_the_oldest_unsent_without_their_texts(journal: Journal) -> None:
    for name in "cab":
        journal.put(row(name, Phase.FINISHED, result=name * 10))
    journal.put(row("x", Phase.ACCEPTED, result="x"))
    assert journal.finished_heads(2) == [("c", 10), ("a", 10)]


def test_refused_rows_stay_thirty_days(journal: Journal) -> None:
    journal.put(row("a", Phase.REFUSED))
    journal.put(row("b", Phase.REJECTED))
    assert journal.prune(BootTime("boot-a", 10.0 + KEPT_REFUSED_S)) == 0
    assert journal.prune(BootTime("boot-a", 11.0 + KEPT_REFUSED_S)) == 2


def test_accepted_rows_stay_a_day_and_refused_ones_longer(journal: Journal) -> None:
    for name, phase in (("a", Phase.ACCEPTED), ("b", Phase.GIVEN_UP), ("c", Phase.REFUSED), ("d", Phase.WAITING)):
        journal.put(row(name, phase))
    assert journal.prune(BootTime("boot-a", 10.0 + KEPT_AFTER_ACCEPTED_S)) == 0
    assert journal.prune(BootTime("boot-a", 11.0 + KEPT_AFTER_ACCEPTED_S)) == 2
    assert [journal.get(name) is not None for name in "abcd"] == [False, False, True, True]


def test_after_a_reboot_the_day_starts_again(journal: Journal) -> None:
    journal.put(row("a", Phase.ACCEPTED))
    journal.put(row("w", Phase.WAITING))
    assert journal.prune(BootTime("boot-b", 5.0)) == 0
    assert journal.prune(BootTime("boot-b", 4.0 + KEPT_AFTER_ACCEPTED_S)) == 0
    waiting = journal.get("w")
    assert waiting is not None
    assert waiting.since.boot_id == "boot-a"  # a lease keeps the boot it came in
    assert journal.prune(BootTime("boot-b", 6.0 + KEPT_AFTER_ACCEPTED_S)) == 1


def test_boot_clock_goes_on_and_knows_its_boot() -> None:
    first, second = boot_time(), boot_time()
    age = second.age_of(first)
    assert age is not None
    assert age >= 0
    assert second.age_of(BootTime("other", 0.0)) is None
