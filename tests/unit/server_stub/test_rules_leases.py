"""Which leases are granted (protocol reference 2.3); and over the store: never two alive for one target."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from lattice_agent.wire.results import TaskResult
from server_stub.actions.leasing import poll
from server_stub.actions.registry import add_node
from server_stub.actions.reporting import take_results
from server_stub.actions.tasks import create_task
from server_stub.config import Limits
from server_stub.errors import Refused
from server_stub.rules.leases import Candidate, decide, is_alive, lease_lifetime, room_of
from server_stub.rules.states import TargetState, TaskStatus
from server_stub.rules.task_limits import check_order
from server_stub.store.sqlite import SqliteStore
from tests.rigs.extent import extent

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("timeout", "seconds"), [(1, 301), (600, 900), (900, 1200), (0, 1200), (-5, 1200)])
def test_trap_05_a_lease_lives_its_timeout_and_300_seconds(timeout: int, seconds: int) -> None:
    assert lease_lifetime(timeout) == timedelta(seconds=seconds)


def test_a_lease_dies_when_more_than_its_lifetime_has_passed() -> None:
    assert is_alive(NOW, NOW)
    assert not is_alive(NOW, NOW + timedelta(microseconds=1))
    assert not is_alive(None, NOW)


def test_oldest_first_and_no_more_than_there_is_room() -> None:
    waiting = [Candidate(f"t{n}", 0, 30, None) for n in range(5)]
    decision = decide(waiting, NOW, 3, 5)
    assert [grant.task_id for grant in decision.grants] == ["t0", "t1", "t2"]
    assert decision.grants[0].expires_at == NOW + 330 * SECOND
    assert decision.lost == ()


def test_the_attempt_limit_gives_up_and_does_not_take_room() -> None:
    dead = NOW - SECOND
    waiting = [Candidate("spent", 5, 30, dead), Candidate("once more", 4, 30, dead), Candidate("alive", 5, 30, NOW)]
    decision = decide(waiting, NOW, 1, 5)
    assert [(grant.task_id, grant.attempt) for grant in decision.grants] == [("once more", 5)]
    assert decision.lost == ("spent",)


@pytest.mark.parametrize(
    ("candidate", "becomes"),
    [
        (Candidate("t", 0, 30, None), "granted"),
        (Candidate("t", 0, 30, None, queued_until=NOW), "granted"),
        (Candidate("t", 0, 30, None, queued_until=NOW - timedelta(microseconds=1)), "expired"),
        (Candidate("t", 1, 30, NOW - SECOND, cancel_requested=True), "lost"),
        (Candidate("t", 1, 30, NOW, cancel_requested=True), "left"),
        (Candidate("t", 1, 30, NOW - SECOND, stopped=True), "lost"),
        (Candidate("t", 0, 30, None, stopped=True), "left"),
        (Candidate("t", 0, 30, None, free=0), "left"),
        (Candidate("t", 0, 30, None, free=1), "granted"),
    ],
)
def test_what_becomes_of_a_target_when_its_node_polls(candidate: Candidate, becomes: str) -> None:
    decision = decide([candidate], NOW, 1, 5)
    assert tuple(grant.task_id for grant in decision.grants) == (("t",) if becomes == "granted" else ())
    assert decision.lost == (("t",) if becomes == "lost" else ())
    assert decision.expired == (("t",) if becomes == "expired" else ())


@pytest.mark.parametrize(("given_max", "room"), [(None, 3), ("1", 1), ("16", 16), ("0016", 16)])
def test_room(given_max: str | None, room: int) -> None:
    assert room_of(given_max, 16) == room
    assert room_of("9999", 10_000) == 9_999


@pytest.mark.parametrize("given_max", ["0", "17", "-1", "", "x", "1e1", "٣", "00016", "9" * 5000])
def test_room_out_of_range(given_max: str) -> None:
    with pytest.raises(Refused, match="max must be between 1 and 16") as refused:
        room_of(given_max, 16)
    assert refused.value.status == 400


@given(
    st.lists(
        st.builds(
            Candidate,
            st.uuids().map(str),
            st.integers(0, 6),
            st.integers(-1, 900),
            st.none() | st.integers(-2, 2).map(lambda s: NOW + s * SECOND),
        ),
        max_size=12,
        unique_by=lambda candidate: candidate.task_id,
    ),
    st.integers(0, 16),
)
def test_what_is_alive_is_neither_granted_nor_given_up(candidates: list[Candidate], room: int) -> None:
    decision = decide(candidates, NOW, room, 5)
    touched = [grant.task_id for grant in decision.grants] + list(decision.lost)
    alive = {c.task_id for c in candidates if c.lease_expires_at is not None and c.lease_expires_at >= NOW}
    assert not alive & set(touched)
    assert len(set(touched)) == len(touched)
    assert len(decision.grants) <= room
    order = [c.task_id for c in candidates]
    assert [g.task_id for g in decision.grants] == sorted((g.task_id for g in decision.grants), key=order.index)


class Fleet(RuleBasedStateMachine):
    """Nodes poll and report in any order while time passes; the model holds the newest lease of each target."""

    NODES = ("n1", "n2")
    ATTEMPTS = 3

    def __init__(self) -> None:
        super().__init__()
        self.store = SqliteStore(":memory:")
        self.now = NOW
        self.leases: dict[tuple[str, str], list[tuple[str, datetime]]] = {}
        self.reported: set[tuple[str, str]] = set()
        for node_id in self.NODES:
            token = f"token of {node_id}"
            self.store.write(
                partial(add_node, actor="op", node_id=node_id, name="", token=token, now=self.now, max_nodes=10)
            )

    @rule(nodes=st.sampled_from([("n1",), ("n2",), ("n1", "n2")]), timeout=st.sampled_from([1, 600]))
    def create(self, nodes: tuple[str, ...], timeout: int) -> None:
        order = check_order(nodes, "sh", "true", timeout, 0)
        self.store.write(lambda tables: create_task(tables, "op", order, self.now, Limits()))

    @rule(node_id=st.sampled_from(NODES), room=st.integers(1, 3))
    def ask(self, node_id: str, room: int) -> None:
        handed = poll(self.store, node_id, room, self.now, self.ATTEMPTS).tasks
        assert len(handed) <= room
        for task in handed:
            target = (task.id, node_id)
            known = self.leases.setdefault(target, [])
            assert target not in self.reported
            assert not known or known[-1][1] < self.now, "two leases alive for one target"
            known.append((task.lease_id, self.now + lease_lifetime(task.timeout_sec)))
            assert len(known) <= self.ATTEMPTS

    @rule(pick=st.integers(0, 999), old=st.booleans(), exit_code=st.integers(0, 1))
    def report(self, pick: int, old: bool, exit_code: int) -> None:
        if not self.leases:
            return
        target = sorted(self.leases)[pick % len(self.leases)]
        lease_id = self.leases[target][0 if old else -1][0]
        sent = TaskResult(task_id=target[0], lease_id=lease_id, exit_code=exit_code)
        (verdict,) = self.store.write(lambda t: take_results(t, target[1], [sent], self.now)).verdicts
        if verdict.stores:
            assert target not in self.reported, "a second result for one target"
            assert lease_id == self.leases[target][-1][0]
            self.reported.add(target)

    @rule(seconds=st.sampled_from([1, 301, 901]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @invariant()
    def status_is_what_the_targets_add_up_to(self) -> None:
        def look(tables):  # type: ignore[no-untyped-def]  # the tables' type adds nothing here
            return [(task, tables.tasks.targets(task.id)) for task in tables.tasks.newest(**EVERYTHING)]

        for task, targets in self.store.read(look):
            states = {target.state for target in targets}
            is_open = bool(states & {TargetState.QUEUED, TargetState.LEASED})
            assert is_open == (task.status in (TaskStatus.QUEUED, TaskStatus.LEASED))
            assert (task.status is TaskStatus.LOST) == (not is_open and TargetState.LOST in states)
            assert {t.node_id for t in targets if (task.id, t.node_id) in self.reported} == {
                t.node_id for t in targets if t.state is TargetState.REPORTED
            }

    def teardown(self) -> None:
        self.store.close()


EVERYTHING = {"node_id": None, "status": None, "limit": 1000}


def test_no_target_ever_has_two_leases_alive() -> None:
    run_state_machine_as_test(
        Fleet, settings=settings(max_examples=extent(15, 60), stateful_step_count=25, deadline=None, derandomize=True)
    )
