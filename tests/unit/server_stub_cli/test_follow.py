"""Waiting for the end of a task, through answers that are early, failures that pass, and bounds."""

import pytest

from server_stub.cli import follow
from server_stub.cli.api import OperatorApi
from server_stub.cli.errors import RequestRefusedError, TryLaterError, UnavailableError
from server_stub.cli.follow import wait_for_end
from tests.unit.server_stub_cli.rig import FakeApi, Reply, refusal, reply


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; nobody sleeps."""
    asked: list[float] = []
    monkeypatch.setattr(follow, "sleep", asked.append)
    return asked


def task(status: str) -> Reply:
    return reply({"task": {"id": "t1", "status": status}})


def test_it_asks_until_the_task_ended(api: FakeApi, naps: list[float]) -> None:
    api.answers(task("queued"), task("leased"), task("finished"))
    with OperatorApi(api.connection) as operator:
        assert wait_for_end(operator, "t1") == {"task": {"id": "t1", "status": "finished"}}

    assert [asked.params for asked in api.asked] == [{"wait_s": "30"}] * 3
    assert len(naps) == 2
    assert all(0.5 < nap <= 1 for nap in naps)  # a server that does not hold its answer back is not hammered


@pytest.mark.parametrize("status", ["finished", "failed", "cancelled", "lost", "a status of a newer server"])
def test_every_status_but_two_is_an_end(api: FakeApi, status: str) -> None:
    api.answers(task(status))
    with OperatorApi(api.connection) as operator:
        wait_for_end(operator, "t1")
    assert len(api.asked) == 1


def test_failures_that_pass_are_waited_out(api: FakeApi) -> None:
    api.answers(refusal(503, "x", "restarting"), Reply(502, b""), refusal(429, "x", "slow"), task("finished"))
    with OperatorApi(api.connection) as operator:
        wait_for_end(operator, "t1")
    assert len(api.asked) == 4


def test_failures_that_stay_end_it_and_name_the_task(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "OUTAGE_S", 0.0)
    api.answers(Reply(502, b""))
    with OperatorApi(api.connection) as operator, pytest.raises(UnavailableError, match="502") as failed:
        wait_for_end(operator, "t1")
    assert "lattice-control task show t1" in failed.value.hint()


def test_an_answer_between_failures_counts_as_a_new_start(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(follow, "monotonic", lambda: float(next(clock)))  # five seconds at every look
    failure = Reply(502, b"")
    api.answers(*[failure, failure, task("leased")] * 3, task("finished"))
    with OperatorApi(api.connection) as operator:
        wait_for_end(operator, "t1")
    assert len(api.asked) == 10


def test_a_refusal_ends_it_at_once(api: FakeApi) -> None:
    api.answers(refusal(404, "not_found", "task t1 not found"))
    with OperatorApi(api.connection) as operator, pytest.raises(RequestRefusedError):
        wait_for_end(operator, "t1")
    assert len(api.asked) == 1


def test_a_task_whose_node_never_comes_back_is_not_followed_for_ever(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 600))
    monkeypatch.setattr(follow, "monotonic", lambda: float(next(clock)))
    api.answers(task("queued"))
    with OperatorApi(api.connection) as operator, pytest.raises(TryLaterError, match="3600 s") as given_up:
        wait_for_end(operator, "t1")
    assert "lattice-control task show t1" in given_up.value.hint()
    assert 1 <= len(api.asked) < 10
