"""Checks 3 and 4 of protocol reference 2.4, and what a task's targets add up to (2.5)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server_stub.rules.results import DUPLICATE, INVALID_LEASE, STORED, Result, Verdict, judge
from server_stub.rules.states import (
    OPEN_STATES,
    OPEN_STATUSES,
    Target,
    TargetState,
    TaskOutcome,
    TaskStatus,
    outcome_of,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RESULT = Result("t", "n", "lease_1", 0, "", "", "", NOW, NOW)
LEASED = Target("t", "n", TargetState.LEASED, 1, "lease_1", NOW)
LOST = replace(LEASED, state=TargetState.LOST)
REPORTED = replace(LEASED, state=TargetState.REPORTED)


def test_accepted_also_after_the_lease_has_expired_and_after_lost() -> None:
    assert judge(RESULT, LEASED, 16, None) == STORED
    assert judge(RESULT, replace(LEASED, lease_expires_at=NOW - timedelta(days=1)), 16, None) == STORED
    assert judge(RESULT, LOST, 16, None) == STORED


def test_the_answers_are_those_of_the_reference() -> None:
    assert Verdict(200, "", "", stores=True) == STORED
    assert Verdict(200, "", "", stores=False) == DUPLICATE
    assert Verdict(403, "invalid_task_lease", "invalid task lease", stores=False) == INVALID_LEASE


@pytest.mark.parametrize(
    ("result", "target"),
    [
        (RESULT, None),
        (RESULT, replace(LEASED, lease_id="lease_2")),
        (replace(RESULT, lease_id=""), replace(LEASED, lease_id="")),
        (RESULT, replace(LEASED, state=TargetState.CANCELLED)),
        (RESULT, replace(LOST, lease_id="lease_2")),
    ],
)
def test_invalid_lease(result: Result, target: Target | None) -> None:
    assert judge(result, target, 16, None) == INVALID_LEASE


def test_the_same_result_again_is_fine_and_another_one_is_not() -> None:
    assert judge(RESULT, REPORTED, 16, RESULT) == DUPLICATE
    assert judge(replace(RESULT, finished_at=NOW + timedelta(seconds=9)), REPORTED, 16, RESULT) == DUPLICATE
    assert judge(replace(RESULT, stdout="x"), REPORTED, 16, RESULT) == INVALID_LEASE


@pytest.mark.parametrize("field", ["stdout", "stderr", "error"])
@pytest.mark.parametrize(("text", "fits"), [("é" * 8, True), ("é" * 9, False), ("x" * 16, True), ("x" * 17, False)])
def test_trap_07_every_text_counts_in_encoded_bytes(field: str, text: str, fits: bool) -> None:
    verdict = judge(replace(RESULT, **{field: text}), LEASED, 16, None)  # type: ignore[arg-type]  # a text field by name
    assert verdict.status == (200 if fits else 400)
    if not fits:
        assert (verdict.code, verdict.message) == (
            "task_output_limit_exceeded",
            f"{field} exceeds task output limit",
        )


def ended(state: TargetState, *, failed: bool = False, after: int = 0) -> Target:
    return Target("t", f"n{after}", state, 5, "l", None, failed, NOW + timedelta(seconds=after))


QUEUED = Target("t", "q", TargetState.QUEUED)


@pytest.mark.parametrize(
    ("targets", "status"),
    [
        ([QUEUED], TaskStatus.QUEUED),
        ([QUEUED, LEASED], TaskStatus.LEASED),
        ([QUEUED, ended(TargetState.REPORTED)], TaskStatus.LEASED),
        ([LEASED, ended(TargetState.LOST)], TaskStatus.LEASED),
        ([ended(TargetState.REPORTED)], TaskStatus.FINISHED),
        ([ended(TargetState.REPORTED), ended(TargetState.REPORTED, failed=True)], TaskStatus.FAILED),
        ([ended(TargetState.REPORTED, failed=True), ended(TargetState.LOST)], TaskStatus.LOST),
        ([ended(TargetState.CANCELLED)], TaskStatus.CANCELLED),
        ([ended(TargetState.CANCELLED), ended(TargetState.REPORTED)], TaskStatus.CANCELLED),
        ([ended(TargetState.CANCELLED), ended(TargetState.EXPIRED)], TaskStatus.FAILED),
        ([replace(ended(TargetState.REPORTED, failed=True), outcome="cancelled")], TaskStatus.CANCELLED),
        ([replace(QUEUED, attempts=1)], TaskStatus.LEASED),
        ([replace(LEASED, attempts=0)], TaskStatus.LEASED),
    ],
)
def test_status(targets: list[Target], status: TaskStatus) -> None:
    outcome = outcome_of(targets)
    assert outcome.status is status
    assert (outcome.finished_at is None) == (status in (TaskStatus.QUEUED, TaskStatus.LEASED))


def test_the_latest_end_and_the_reason_of_a_loss() -> None:
    assert outcome_of([ended(TargetState.LOST, after=1), ended(TargetState.REPORTED, after=3)]) == TaskOutcome(
        TaskStatus.LOST, "node n1: no result after 5 leases", NOW + timedelta(seconds=3)
    )
    two = outcome_of([ended(TargetState.LOST, after=1), ended(TargetState.LOST, after=2)])
    assert two.reason == "node n1: no result after 5 leases; and 1 more node"
    once = outcome_of([replace(ended(TargetState.LOST), attempts=1)] * 3)
    assert once.reason == "node n0: no result after 1 lease; and 2 more nodes"


def test_the_reason_of_a_loss_says_if_somebody_had_asked_for_its_end() -> None:
    asked = replace(ended(TargetState.LOST, after=1), cancel_requested_at=NOW, cancel_requested_by="ops")
    assert outcome_of([asked]).reason == "node n1: cancel requested, but never confirmed"
    other = replace(ended(TargetState.LOST, after=2), attempts=1)
    assert outcome_of([asked, other]).reason == "node n1: cancel requested, but never confirmed; and 1 more node"
    assert outcome_of([other, asked]).reason == "node n2: no result after 1 lease; and 1 more node"


def test_of_a_new_target_nothing_is_known() -> None:
    nothing = (0, "", None, False, None, None, None, None, "", "", "")
    assert Target("t", "n", TargetState.QUEUED) == Target("t", "n", TargetState.QUEUED, *nothing)


def without_result(state: TargetState, reason: str, by: str = "") -> Target:
    return replace(ended(state, after=1), attempts=0, reason=reason, cancel_requested_by=by)


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ([ended(TargetState.REPORTED, failed=True)], ""),
        ([without_result(TargetState.EXPIRED, "too late")], "node n1: too late"),
        (
            [
                without_result(TargetState.EXPIRED, "too late"),
                replace(without_result(TargetState.CANCELLED, "stopped"), node_id="n9"),
            ],
            "node n1: too late",
        ),
        (
            [without_result(TargetState.CANCELLED, "stopped"), without_result(TargetState.EXPIRED, "too late")],
            "stopped",
        ),
        (
            [
                ended(TargetState.REPORTED, failed=True),
                without_result(TargetState.CANCELLED, "stopped after 1 failure"),
            ],
            "stopped after 1 failure",
        ),
        ([ended(TargetState.REPORTED, failed=True), without_result(TargetState.CANCELLED, "gone", "ops")], ""),
        ([without_result(TargetState.CANCELLED, "gone", "ops")], "cancelled by ops"),
        ([without_result(TargetState.CANCELLED, "gone")], "cancelled on the node"),
        (
            [without_result(TargetState.CANCELLED, "gone"), without_result(TargetState.CANCELLED, "gone", "eve")],
            "cancelled by eve",
        ),
        ([ended(TargetState.REPORTED)], ""),
        ([QUEUED], ""),
    ],
)
def test_the_reason_of_a_task(targets: list[Target], reason: str) -> None:
    assert outcome_of(targets).reason == reason


def test_an_end_without_a_time_is_not_the_latest() -> None:
    dated = ended(TargetState.REPORTED, after=2)
    assert outcome_of([replace(dated, finished_at=None), dated]).finished_at == dated.finished_at
    assert outcome_of([replace(dated, finished_at=None)]).finished_at is None


def test_the_words_for_states_are_those_of_the_store_and_the_api() -> None:
    states = ["queued", "leased", "reported", "lost", "cancelled", "expired"]
    statuses = ["queued", "leased", "finished", "failed", "cancelled", "lost"]
    assert ([*TargetState], [*TaskStatus]) == (states, statuses)
    assert {"queued", "leased"} == OPEN_STATES == OPEN_STATUSES


@pytest.mark.parametrize(("exit_code", "error", "failed"), [(0, "", False), (1, "", True), (0, "cut", True)])
def test_trap_09_an_error_text_or_an_exit_code_means_failed(exit_code: int, error: str, failed: bool) -> None:
    assert replace(RESULT, exit_code=exit_code, error=error).failed is failed
