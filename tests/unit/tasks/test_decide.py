"""The table of task phases and the decisions of the lease loop."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.state.clock import BootTime
from lattice_agent.state.journal import Phase, TaskRow
from lattice_agent.tasks import decide
from lattice_agent.tasks.decide import Answer, Event, IllegalTransitionError, Lease, Next, Pause, PollRhythm

NOW = BootTime("boot-a", 1000.0)


def lease(lease_id: str = "lease_2", received: BootTime = NOW) -> Lease:
    return Lease("task_1", lease_id, "sh", "echo hi", 30, 4096, received)


def row(phase: Phase, **changes: object) -> TaskRow:
    has_result = phase in (Phase.FINISHED, Phase.ACCEPTED, Phase.REFUSED, Phase.REJECTED)
    base = TaskRow(
        "task_1",
        phase,
        "lease_1",
        "sh",
        "echo hi" if phase is Phase.WAITING else None,
        30,
        4096,
        BootTime("boot-a", 900.0),
        order_no=7,
        result="{}" if has_result else None,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", [None, *Phase])
@pytest.mark.parametrize("event", list(Event))
def test_every_pair_is_a_transition_or_a_named_error(phase: Phase | None, event: Event) -> None:
    expected = decide.TRANSITIONS.get((phase, event))
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=event.name):
            decide.follow(phase, event)
    else:
        assert decide.follow(phase, event) is expected


def test_only_a_waiting_task_can_start() -> None:
    starts = [phase for (phase, event) in decide.TRANSITIONS if event is Event.STARTED]
    assert starts == [Phase.WAITING]


def test_no_way_leads_back_to_waiting_once_started() -> None:
    reachable, todo = set(), {Phase.RUNNING}
    while todo:
        phase = todo.pop()
        reachable.add(phase)
        todo |= {to for (at, _), to in decide.TRANSITIONS.items() if at is phase} - reachable
    assert Phase.WAITING not in reachable
    assert Phase.GIVEN_UP not in reachable


def test_unknown_task_is_queued() -> None:
    taken, then = decide.take_lease(None, lease())
    assert (taken.phase, taken.script, then) == (Phase.WAITING, "echo hi", Next.RUN)


def test_given_up_before_its_start_is_run() -> None:
    taken, then = decide.take_lease(row(Phase.GIVEN_UP), lease())
    assert (taken.phase, taken.script, taken.lease_id, then) == (Phase.WAITING, "echo hi", "lease_2", Next.RUN)


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.RUNNING])
def test_trap_05_a_task_that_waits_or_runs_adopts_the_new_lease(phase: Phase) -> None:
    taken, then = decide.take_lease(row(phase), lease())
    assert (taken.phase, taken.lease_id, taken.since, then) == (phase, "lease_2", NOW, Next.WAIT)


@pytest.mark.parametrize("phase", [Phase.FINISHED, Phase.ACCEPTED, Phase.REFUSED, Phase.REJECTED])
def test_trap_06_a_task_that_has_a_result_is_never_run_again(phase: Phase) -> None:
    taken, then = decide.take_lease(row(phase), lease())
    assert (taken.phase, taken.lease_id, taken.result, then) == (Phase.FINISHED, "lease_2", "{}", Next.SEND)


@pytest.mark.parametrize("phase", [Phase.FINISHED, Phase.ACCEPTED, Phase.REFUSED, Phase.REJECTED])
def test_a_result_that_is_asked_for_again_keeps_its_age_and_so_goes_first(phase: Phase) -> None:
    assert decide.take_lease(row(phase), lease())[0].order_no == 7


@pytest.mark.parametrize(
    ("timeout", "age", "expired"),
    [
        *((30, 330.0, False), (30, 330.5, True), (1, 301.0, False), (1, 301.5, True)),
        *((0, 1200.0, False), (0, 1200.5, True), (-5, 1200.5, True)),
    ],
)
def test_lease_age(timeout: int, age: float, expired: bool) -> None:
    now = BootTime("boot-a", 900.0 + age)
    assert decide.lease_expired(row(Phase.WAITING, timeout_sec=timeout), now) is expired


def test_a_lease_of_another_boot_is_expired() -> None:
    assert decide.lease_expired(row(Phase.WAITING), BootTime("boot-b", 901.0))


def test_start_and_finish_forget_the_script() -> None:
    started = decide.start(row(Phase.WAITING))
    finished = decide.finish(started, Event.ENDED, '{"x":1}')
    assert (started.phase, started.script, started.result) == (Phase.RUNNING, None, None)
    assert (finished.phase, finished.script, finished.result, finished.order_no) == (Phase.FINISHED, None, '{"x":1}', 0)


def test_a_task_that_is_declined_has_its_result_and_no_script() -> None:
    declined = decide.finish(row(Phase.WAITING), Event.DECLINED, "{}")
    assert (declined.phase, declined.script, declined.result, declined.order_no) == (Phase.FINISHED, None, "{}", 0)


def test_a_task_that_is_given_up_is_settled_from_then_on_without_its_script() -> None:
    given_up = decide.give_up(row(Phase.WAITING), NOW)
    assert given_up == row(Phase.GIVEN_UP, since=NOW)
    with pytest.raises(IllegalTransitionError, match=r"a task in phase running cannot be EXPIRED"):
        decide.give_up(row(Phase.RUNNING), NOW)


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (Answer.STORED, Phase.ACCEPTED),
        (Answer.DEAD_LEASE, Phase.REFUSED),
        (Answer.UNACCEPTABLE, Phase.REJECTED),
    ],
)
def test_answers(answer: Answer, phase: Phase) -> None:
    settled = decide.settle(row(Phase.FINISHED), "lease_1", answer, NOW)
    assert settled is not None
    assert (settled.phase, settled.result, settled.since) == (phase, "{}", NOW)


@pytest.mark.parametrize("answer", [Answer.DEAD_LEASE, Answer.UNACCEPTABLE])
def test_no_to_an_older_lease_says_nothing_about_the_newer(answer: Answer) -> None:
    assert decide.settle(row(Phase.FINISHED, lease_id="lease_2"), "lease_1", answer, NOW) is None


def test_yes_to_an_older_lease_is_yes() -> None:
    settled = decide.settle(row(Phase.FINISHED, lease_id="lease_2"), "lease_1", Answer.STORED, NOW)
    assert settled is not None
    assert settled.phase is Phase.ACCEPTED


@pytest.mark.parametrize("phase", sorted(set(Phase) - {Phase.FINISHED}))
@pytest.mark.parametrize("answer", list(Answer))
def test_an_answer_that_comes_too_late_changes_nothing(phase: Phase, answer: Answer) -> None:
    assert decide.settle(row(phase), "lease_1", answer, NOW) is None


@pytest.mark.parametrize(
    ("unsent", "full"),
    [
        *(((0, 0), False), ((1999, 0), False), ((2000, 0), True)),
        *(((1, 64 * 1024 * 1024 - 1), False), ((1, 64 * 1024 * 1024), True)),
    ],
)
def test_spool_bound(unsent: tuple[int, int], full: bool) -> None:
    assert decide.spool_full(unsent) is full


def test_weak_point_07_poll_rhythm() -> None:
    rhythm = PollRhythm(idle_s=5, busy_s=1, jitter=0.1)

    def delay(*, got_work: bool, since: float | None, chance: float = 0.5) -> float:
        return decide.poll_delay(rhythm, got_work=got_work, since_work_s=since, chance=chance)

    assert delay(got_work=True, since=0) == 0
    assert delay(got_work=False, since=None) == pytest.approx(5)
    assert delay(got_work=False, since=59) == pytest.approx(1)
    assert delay(got_work=False, since=61) == pytest.approx(5)
    assert delay(got_work=False, since=None, chance=0) == pytest.approx(4.5)
    assert delay(got_work=False, since=None, chance=1) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("since_work_s", "chance", "told", "expected"),
    [
        *((None, 0.5, False, 5.0), (None, 0.0, False, 4.5), (None, 1.0, False, 5.5)),
        *((0.0, 0.5, False, 1.0), (59.9, 0.5, False, 1.0), (60.0, 0.5, False, 5.0), (60.1, 0.5, False, 5.0)),
        *((None, 0.5, True, 60.0), (0.0, 0.0, True, 54.0), (0.0, 1.0, True, 66.0)),
    ],
)
def test_the_rhythm_of_who_sets_nothing(since_work_s: float | None, chance: float, told: bool, expected: float) -> None:
    """Every 5 s, every second for a minute after work, every minute while the control plane tells; +- 10 %."""
    delay = decide.poll_delay(PollRhythm(), got_work=False, since_work_s=since_work_s, chance=chance, told=told)
    assert delay == pytest.approx(expected)


@pytest.mark.parametrize(("told", "period"), [(False, 5.0), (True, 60.0)])
def test_the_first_poll_after_polls_have_begun_to_pass_comes_at_any_time_within_the_period(
    told: bool, period: float
) -> None:
    def delay(chance: float, *, got_work: bool = False) -> float:
        return decide.poll_delay(
            PollRhythm(), got_work=got_work, since_work_s=None, chance=chance, told=told, first=True
        )

    assert [delay(chance) for chance in (0.0, 0.5, 1.0)] == [0, period / 2, period]
    assert delay(0.5, got_work=True) == 0


def test_polls_are_for_what_was_forgotten_while_the_control_plane_tells_of_work() -> None:
    rhythm = PollRhythm(idle_s=5, busy_s=1, told_s=60, jitter=0.1)

    def delay(*, got_work: bool = False, since: float | None = None, chance: float = 0.5) -> float:
        return decide.poll_delay(rhythm, got_work=got_work, since_work_s=since, chance=chance, told=True)

    assert delay(got_work=True) == 0
    assert delay() == delay(since=1) == pytest.approx(60)
    assert (delay(chance=0), delay(chance=1)) == (pytest.approx(54), pytest.approx(66))
    seldom = replace(rhythm, idle_s=600)
    assert decide.poll_delay(seldom, got_work=False, since_work_s=None, chance=0.5, told=True) == pytest.approx(600)
    assert decide.poll_delay(PollRhythm(idle_s=6), got_work=False, since_work_s=None, chance=0.5, told=True) == 60
    often = replace(rhythm, idle_s=0.5)
    assert decide.poll_delay(often, got_work=False, since_work_s=None, chance=0.5, told=True) == pytest.approx(6)


def test_after_the_stream_polls_are_spread_over_the_idle_period() -> None:
    rhythm = PollRhythm(idle_s=5)
    assert [decide.delay_when_told_no_more(rhythm, chance=chance) for chance in (0, 0.5, 1)] == [0, 2.5, 5]


def test_news_end_a_pause_but_not_a_back_off() -> None:
    never = float("inf")
    assert decide.pause_end(Pause(60), woken=False, latest=never) == 60
    assert decide.pause_end(Pause(60), woken=False, latest=30) == 30
    assert decide.pause_end(Pause(60), woken=True, latest=never) < 0
    assert decide.pause_end(Pause(60, ends_early=False), woken=True, latest=30) == 60


@given(st.lists(st.sampled_from(["lease", "start", "end", "expire", "ok", "403", "400", "decline"]), max_size=30))
def test_property_a_task_id_starts_at_most_once(story: list[str]) -> None:
    known: TaskRow | None = None
    starts = 0
    leases = 0
    for step in story:
        phase = known.phase if known else None
        if step == "lease":
            leases += 1
            known, _ = decide.take_lease(known, lease(f"lease_{leases}"))
        elif known is None:
            continue
        elif step == "start" and phase is Phase.WAITING:
            known, starts = decide.start(known), starts + 1
        elif step == "end" and phase is Phase.RUNNING:
            known = decide.finish(known, Event.ENDED, "{}")
        elif step == "decline" and phase is Phase.WAITING:
            known = decide.finish(known, Event.DECLINED, "{}")
        elif step == "expire" and phase is Phase.WAITING:
            known = decide.give_up(known, NOW)
        else:
            answer = {"ok": Answer.STORED, "403": Answer.DEAD_LEASE, "400": Answer.UNACCEPTABLE}.get(step)
            known = (answer and decide.settle(known, known.lease_id, answer, NOW)) or known
        assert starts <= 1
