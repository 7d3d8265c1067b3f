"""What the pages of tasks say of a target: words, steps and clocks."""

import doctest
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server_stub.dashboard import outcome_words, task_rows
from server_stub.dashboard.outcome_words import KINDS, counted
from server_stub.dashboard.task_rows import headline, progress, target_row
from server_stub.dashboard.timeline import clocks, steps
from server_stub.rules.outcomes import TargetOutcome
from server_stub.rules.states import Target, TargetState
from server_stub.store.records import StoredResult, Task

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TASK = Task("task_1", "ops", "sh", "true", "0" * 64, 30, 65_536, START, ("n1",))
QUEUED = Target("task_1", "n1", TargetState.QUEUED)
LEASED = replace(
    QUEUED,
    state=TargetState.LEASED,
    attempts=2,
    leased_at=START + timedelta(seconds=3),
    lease_expires_at=START + timedelta(seconds=333),
)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ended(outcome: str, reason: str, **detail: Any) -> tuple[Target, StoredResult]:
    target = replace(
        LEASED, state=TargetState.REPORTED, outcome=outcome, reason=reason, finished_at=after(9), running_since=after(4)
    )
    result = StoredResult("n1", -1, "", "", reason, after(4), after(9), after(9), {"outcome": outcome, **detail})
    return target, result


@pytest.mark.parametrize("module", [outcome_words, task_rows])
def test_examples_hold(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_outcome_has_a_kind_and_its_place() -> None:
    assert set(KINDS) == set(TargetOutcome)
    counts = counted({str(outcome): number for number, outcome in enumerate(TargetOutcome)})
    assert [count.outcome for count in counts] == list(TargetOutcome)[1:]
    assert not [count.word for count in counts if "_" in count.word]


@pytest.mark.parametrize(
    ("script", "shown"),
    [("", ""), ("\n \n", ""), ("# only\n# comments", "# only"), ("//x\nconsole.log(1)", "console.log(1)")],
)
def test_a_script_is_known_by_its_first_line(script: str, shown: str) -> None:
    assert headline(script) == shown
    assert len(headline("x" * 100_000)) == 72


def test_a_script_is_known_by_what_stands_in_its_first_page() -> None:
    assert headline("# x\n" * 16_000 + "true") == "# x"


def test_a_queued_target_says_for_whom_it_waits_and_how_long() -> None:
    task = replace(TASK, queue_timeout_sec=60)
    assert [step.note for step in steps(task, target_row(QUEUED), None)] == [
        "by ops",
        "waits for n1 to take it, until 12:01:00Z at most",
    ]
    assert clocks(task, QUEUED, None) == []


def test_a_leased_target_says_its_attempt_and_when_a_result_is_due() -> None:
    *_, step = steps(replace(TASK, rerun_of="task_0"), target_row(LEASED), None)
    assert (step.word, step.at, step.note) == ("leased", after(3), "attempt 2; a result is expected by 12:05:33Z")


def test_a_cancelled_run_has_all_its_steps() -> None:
    target, result = ended("cancelled", "cancelled by ops after 5 s; 3 processes killed", level="strict")
    target = replace(target, cancel_requested_at=after(8), cancel_requested_by="ops")
    found = steps(TASK, target_row(target), result)
    assert [step.word for step in found] == ["created", "leased", "running", "cancel requested", "cancelled"]
    assert [step.note for step in found[2:]] == ["at level strict", "by ops", "by ops after 5 s; 3 processes killed"]
    assert [step.at for step in found] == [after(0), after(3), after(4), after(8), after(9)]


@pytest.mark.parametrize(("clock", "name"), [("queued", "queued"), ("wall", "wall"), ("cpu", "CPU")])
def test_the_clock_that_ended_a_run_is_the_one_that_fired(clock: str, name: str) -> None:
    target, result = ended("timed_out", "timed out: x", clock=clock, wall_ms=5_000, cpu_ms=900, queued_ms=1_500)
    found = clocks(TASK, target, result)
    assert [one.name for one in found if one.fired] == [name]
    assert [one.used for one in found] == ["4.50 s", "5 s", "0.90 s", "0 s"]
    assert [one.limit for one in found] == ["no limit", "30 s", "the node's own", "the node's own"]


def test_a_grace_that_was_over_has_fired() -> None:
    target, result = ended("cancelled", "cancelled", clock="grace", grace_expired=True, grace_ms=2_000)
    assert [(one.name, one.used) for one in clocks(TASK, target, result) if one.fired] == [("grace", "2 s")]


def test_the_queued_clock_fires_without_a_result() -> None:
    target = replace(QUEUED, state=TargetState.EXPIRED, outcome="timed_out", finished_at=after(60))
    found = clocks(replace(TASK, queue_timeout_sec=60), target, None)
    assert [(one.name, one.used, one.limit) for one in found if one.fired] == [("queued", "1 min", "1 min")]


def test_progress_counts_what_has_ended() -> None:
    target, _ = ended("failed", "failed: exit code 1")
    found = progress([QUEUED, LEASED, target, target])
    assert (found.ended, found.total) == (2, 4)
    assert [(count.word, count.amount) for count in found.counts] == [("queued", 1), ("leased", 1), ("failed", 2)]
