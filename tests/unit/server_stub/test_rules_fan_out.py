"""Fan-out: its rules, and over the store what must hold however nodes poll, report, vanish and are cancelled."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from lattice_agent.wire.results import TaskResult
from server_stub.actions.cancelling import cancel_task
from server_stub.actions.giving_up import give_up_overdue
from server_stub.actions.leasing import poll
from server_stub.actions.registry import add_node, set_draining
from server_stub.actions.reporting import take_results
from server_stub.actions.tasks import create_task
from server_stub.config import Limits
from server_stub.errors import Refused
from server_stub.rules.fan_out import FanOut, Standing, spared, standing, waiting, woken
from server_stub.rules.leases import Candidate, decide, is_alive
from server_stub.rules.outcomes import NO_FAILURES, counts_as_failure, outcome_of_target
from server_stub.rules.states import OPEN_STATES, Target, TargetState
from server_stub.rules.task_limits import check_order
from server_stub.store.base import Tables
from server_stub.store.sqlite import SqliteStore
from tests.rigs.extent import extent

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
QUEUED, LEASED, REPORTED = TargetState.QUEUED, TargetState.LEASED, TargetState.REPORTED


def fleet(*states: TargetState, **fields: object) -> list[Target]:
    return [Target("t", f"n{number}", state, **fields) for number, state in enumerate(states)]  # type: ignore[arg-type]


def test_a_dead_lease_takes_no_place() -> None:
    targets = [*fleet(LEASED, LEASED, lease_expires_at=NOW), *fleet(LEASED, lease_expires_at=NOW - SECOND)]
    assert standing(FanOut(concurrency=3), targets, NOW) == Standing(free=1)
    assert standing(FanOut(concurrency=1), targets, NOW) == Standing(free=0)
    assert standing(FanOut(), targets, NOW) == Standing(None)


def test_the_rest_is_spared_once_as_many_have_failed() -> None:
    failed = fleet(REPORTED, REPORTED, failed=True, outcome="failed")
    targets = [*failed, *fleet(REPORTED, outcome="output_limit"), *fleet(QUEUED, QUEUED)]
    assert spared(standing(FanOut(max_failures=3), targets, NOW), targets) == []
    where = standing(FanOut(concurrency=1, max_failures=2), targets, NOW)
    assert where == Standing(1, stopped=True)
    assert spared(where, targets) == ["n0", "n1"]
    assert waiting(where, targets) == ()
    assert standing(FanOut(max_failures=1), failed[:1], NOW) == Standing(None, stopped=True)
    assert standing(FanOut(), failed, NOW) == Standing(None, stopped=False)


def test_waiting_nodes_are_told_when_there_is_room() -> None:
    targets = [*fleet(QUEUED, QUEUED), *fleet(LEASED, lease_expires_at=NOW)]
    assert waiting(standing(FanOut(concurrency=2), targets, NOW), targets) == ("n0", "n1")
    assert waiting(standing(FanOut(concurrency=1), targets, NOW), targets) == ()
    assert waiting(standing(FanOut(), targets, NOW), targets) == ()  # nothing kept them
    assert [woken(free) for free in (1, 3)] == [10, 14]


@given(
    st.lists(
        st.builds(
            Candidate,
            st.uuids().map(str),
            st.integers(0, 3),
            st.just(30),
            st.none(),
            queued_until=st.none() | st.integers(-1, 1).map(lambda n: NOW + n * SECOND),
            cancel_requested=st.booleans(),
            free=st.none() | st.integers(0, 2),
            stopped=st.booleans(),
        ),
        max_size=9,
        unique_by=lambda candidate: candidate.task_id,
    ),
)
def test_nothing_is_granted_without_room_or_after_a_stop_or_too_late(candidates: Sequence[Candidate]) -> None:
    decision = decide(candidates, NOW, 16, 3)
    by_id = {candidate.task_id: candidate for candidate in candidates}
    for grant in decision.grants:
        candidate = by_id[grant.task_id]
        assert candidate.free != 0
        assert not candidate.stopped
        assert not (candidate.cancel_requested and candidate.attempts)
        assert candidate.queued_until is None or candidate.queued_until >= NOW
    chosen = [grant.task_id for grant in decision.grants] + [*decision.lost, *decision.expired]
    assert len(chosen) == len(set(chosen))


class Fleet(RuleBasedStateMachine):
    """Five nodes and tasks for all of them; time passes, leases die, operators change their minds."""

    NODES = ("n1", "n2", "n3", "n4", "n5")
    ATTEMPTS = 2
    KINDS = st.sampled_from(
        [(0, "", "succeeded"), (3, "exit status 3", "failed"), (-1, "context canceled", "cancelled"), (1, "", "")]
    )

    def __init__(self) -> None:
        super().__init__()
        self.store = SqliteStore(":memory:")
        self.now = NOW
        self.leases: dict[tuple[str, str], str] = {}
        self.ends: dict[tuple[str, str], TargetState] = {}
        self.tasks: list[str] = []
        self.store.write(self._register)

    def _register(self, tables: Tables) -> None:
        for node_id in self.NODES:
            add_node(tables, "op", node_id, "", f"token of {node_id}", self.now, 10)

    @rule(concurrency=st.integers(0, 3), max_failures=st.integers(0, 2), queue_timeout=st.sampled_from([0, 60, 900]))
    def create(self, concurrency: int, max_failures: int, queue_timeout: int) -> None:
        order = check_order(self.NODES, "sh", "true", 1, 0, FanOut(concurrency, max_failures), queue_timeout)
        task = self.store.write(lambda tables: create_task(tables, "op", order, self.now, Limits()))
        self.tasks.append(task.id)

    @rule(node_id=st.sampled_from(NODES), room=st.integers(1, 3))
    def ask(self, node_id: str, room: int) -> None:
        stopped = self.store.read(self._stopped)
        draining = self.store.read(lambda tables: tables.nodes.draining(node_id))
        handed = poll(self.store, node_id, room, self.now, self.ATTEMPTS).tasks
        assert not (draining and handed)
        for task in handed:
            assert task.id not in stopped, "handed out after too many failures"
            assert (task.id, node_id) not in self.ends, "handed out after its end"
            self.leases[(task.id, node_id)] = task.lease_id

    def _stopped(self, tables: Tables) -> set[str]:
        limits = {task_id: tables.tasks.fan_out(task_id).max_failures for task_id in self.tasks}
        return {
            task_id
            for task_id, most in limits.items()
            if most and sum(map(counts_as_failure, tables.tasks.targets(task_id))) >= most
        }

    @rule(pick=st.integers(0, 999), kind=KINDS)
    def report(self, pick: int, kind: tuple[int, str, str]) -> None:
        if not self.leases:
            return
        task_id, node_id = sorted(self.leases)[pick % len(self.leases)]
        exit_code, error, outcome = kind
        sent = TaskResult(
            task_id=task_id,
            lease_id=self.leases[(task_id, node_id)],
            exit_code=exit_code,
            error=error,
            detail=None if not outcome else {"outcome": outcome},  # type: ignore[arg-type]  # as it comes
        )
        before = self.store.read(lambda tables: tables.tasks.target(task_id, node_id))
        (verdict,) = self.store.write(lambda tables: take_results(tables, node_id, [sent], self.now)).verdicts
        assert before is not None
        assert verdict.stores == (before.state in (TargetState.LEASED, TargetState.LOST))
        if verdict.stores and before.state is TargetState.LOST:
            del self.ends[(task_id, node_id)]  # the one end that is put right

    @rule(pick=st.integers(0, 999), node_id=st.sampled_from(("", *NODES)))
    def cancel(self, pick: int, node_id: str) -> None:
        if not self.tasks:
            return
        task_id = self.tasks[pick % len(self.tasks)]
        try:
            done = self.store.write(lambda tables: cancel_task(tables, "op", task_id, node_id, self.now))
        except Refused as refused:
            if refused.status != 409:
                raise
            return
        chosen = [target for target in done.shown.targets if node_id in ("", target.node_id)]
        assert not [target for target in chosen if target.state is TargetState.QUEUED]
        assert set(done.asked) == {target.node_id for target in chosen if target.state is TargetState.LEASED}

    @rule(node_id=st.sampled_from(NODES), on=st.booleans())
    def drain(self, node_id: str, on: bool) -> None:
        self.store.write(lambda tables: set_draining(tables, "op", node_id, on, self.now))

    @rule(seconds=st.sampled_from([1, 61, 302]))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(most=st.integers(1, 9))
    def sweep(self, most: int) -> None:
        give_up_overdue(self.store, self.now, most)

    @invariant()
    def everything_holds(self) -> None:
        self.store.read(self._look)

    def _look(self, tables: Tables) -> None:
        counted = tables.tasks.outcomes(self.tasks)
        for task_id in self.tasks:
            task, targets = tables.tasks.get(task_id), tables.tasks.targets(task_id)
            assert task is not None
            alive = [t for t in targets if t.state is TargetState.LEASED and is_alive(t.lease_expires_at, self.now)]
            assert not task.concurrency or len(alive) <= task.concurrency
            failures = [target for target in targets if outcome_of_target(target) not in NO_FAILURES]
            if task.max_failures and len(failures) >= task.max_failures:
                assert not [target for target in targets if target.state is TargetState.QUEUED]
            assert sum(counted[task_id].values()) == len(targets)
            assert (task.finished_at is None) == any(target.state in OPEN_STATES for target in targets)
            for target in targets:
                self._ends_once(target)

    def _ends_once(self, target: Target) -> None:
        key = (target.task_id, target.node_id)
        if target.state in OPEN_STATES:
            assert key not in self.ends, "it had ended"
            return
        assert self.ends.setdefault(key, target.state) is target.state, "it ended twice"
        assert target.outcome
        assert target.reason

    def teardown(self) -> None:
        self.store.close()


def test_whatever_happens_no_limit_is_passed_and_every_target_ends_once() -> None:
    run_state_machine_as_test(
        Fleet, settings=settings(max_examples=extent(15, 60), stateful_step_count=40, deadline=None, derandomize=True)
    )


def test_every_target_ends_when_nodes_vanish_after_a_cancel() -> None:
    store = SqliteStore(":memory:")
    now = NOW

    def begin(tables: Tables) -> str:
        for number in range(9):
            add_node(tables, "op", f"n{number}", "", f"token {number}", now, 10)
        order = check_order([f"n{n}" for n in range(9)], "sh", "true", 1, 0, FanOut(concurrency=4))
        return create_task(tables, "op", order, now, Limits()).id

    task_id = store.write(begin)
    handed = [poll(store, f"n{number}", 3, now, 5).tasks for number in range(9)]
    assert sum(map(len, handed)) == 4
    store.write(lambda tables: cancel_task(tables, "op", task_id, "", now))
    assert give_up_overdue(store, now + 301 * SECOND, 9) == ()
    (settled,) = give_up_overdue(store, now + 302 * SECOND, 9)
    assert settled.ended
    task = store.read(lambda tables: tables.tasks.get(task_id))
    assert task is not None
    assert (task.status, task.reason) == (
        "lost",
        "node n0: cancel requested, but never confirmed; and 3 more nodes",
    )
    store.close()
