"""How many cells are kept ready: one case per rule, then any course of events."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.exec.pool import KEPT, MOST, RETRY_FIRST_S, RETRY_MOST_S, SHRINK_S, PoolPolicy

START = 1000.0


@pytest.mark.parametrize(
    ("kept", "ready", "building", "missing", "surplus"),
    [
        (0, 0, 0, 0, 0),
        (0, 1, 0, 0, 1),
        (2, 0, 0, 2, 0),
        (2, 1, 0, 1, 0),
        (2, 0, 1, 1, 0),
        (2, 1, 1, 0, 0),
        (2, 2, 0, 0, 0),
        (2, 0, 5, 0, 0),
        (2, 3, 0, 0, 1),
        (2, 5, 2, 0, 3),
    ],
)
def test_what_is_missing_or_too_much_follows_from_the_target(
    kept: int, ready: int, building: int, missing: int, surplus: int
) -> None:
    policy = PoolPolicy(kept, START)
    assert policy.target == kept
    assert policy.missing(START, ready, building) == missing
    assert policy.surplus(START, ready) == surplus


def test_each_wait_raises_the_target_by_one_up_to_the_bound() -> None:
    policy = PoolPolicy(KEPT, START)
    seen = []
    for _ in range(MOST + 2):
        policy.had_to_wait(START)
        seen.append(policy.target)
    assert seen == [3, 4, 5, 6, 7, 8, 8, 8, 8, 8]


def test_each_minute_without_a_wait_lowers_it_by_one_down_to_what_is_kept() -> None:
    policy = PoolPolicy(KEPT, START)
    for _ in range(3):
        policy.had_to_wait(START)
    assert policy.surplus(START + SHRINK_S - 0.1, 5) == 0
    assert [policy.surplus(START + minute * SHRINK_S, 5) for minute in (1, 1, 2, 3, 4, 9)] == [1, 1, 2, 3, 3, 3]
    assert policy.target == KEPT


def test_a_wait_begins_the_minute_again() -> None:
    policy = PoolPolicy(0, START)
    policy.had_to_wait(START)
    policy.had_to_wait(START + 50)
    assert policy.surplus(START + 109, 2) == 0
    assert policy.surplus(START + 110, 2) == 1


def test_a_profile_nobody_waits_for_is_forgotten_after_its_minutes() -> None:
    policy = PoolPolicy(0, START)
    assert policy.idle
    policy.had_to_wait(START)
    assert not policy.idle
    policy.surplus(START + SHRINK_S, 1)
    assert policy.idle


def test_failures_put_building_in_advance_off_twice_as_long_each_time() -> None:
    policy = PoolPolicy(KEPT, START)
    now, pauses = START, []
    for _ in range(12):
        policy.failed(now)
        pauses.append(_pause(policy, now))
        now += pauses[-1]
    assert pauses[:4] == pytest.approx([RETRY_FIRST_S * 2**n for n in range(4)])
    assert pauses[-1] == RETRY_MOST_S
    policy.built()
    policy.failed(now)
    assert _pause(policy, now) == pytest.approx(RETRY_FIRST_S)


def test_a_hundred_thousand_failures_are_no_overflow() -> None:
    policy = PoolPolicy(KEPT, START)
    for _ in range(100_000):
        policy.failed(START)
    assert _pause(policy, START) == RETRY_MOST_S


def _pause(policy: PoolPolicy, now: float) -> float:
    """Seconds until something may be built, to a tenth of the shortest."""
    step = RETRY_FIRST_S / 10
    return next(n * step for n in range(int(RETRY_MOST_S / step) + 2) if policy.missing(now + n * step + 1e-6, 0, 0))


@pytest.mark.parametrize(
    ("waits", "kept", "target"), [(0, 0, 0), (0, 2, 2), (3, 2, 5), (3, 0, 0), (20, 2, MOST), (1, 7, 7)]
)
def test_keeping_more_or_less_from_now_on(waits: int, kept: int, target: int) -> None:
    policy = PoolPolicy(KEPT, START)
    for _ in range(waits):
        policy.had_to_wait(START)
    policy.keep(kept)
    assert policy.target == target
    assert policy.idle == (kept == 0)
    for minute in range(1, 20):
        policy.surplus(START + minute * SHRINK_S, 0)
    assert policy.target == kept


Event = Callable[[PoolPolicy, float], None]
EVENTS = st.sampled_from(
    [
        lambda policy, now: policy.had_to_wait(now),
        lambda policy, now: policy.failed(now),
        lambda policy, _now: policy.built(),
        lambda policy, now: policy.surplus(now, 3),
        lambda policy, now: policy.missing(now, 1, 1),
        lambda policy, _now: policy.keep(0),
        lambda policy, _now: policy.keep(KEPT),
    ]
)


@given(
    st.sampled_from([0, KEPT]),
    st.lists(st.tuples(EVENTS, st.floats(0, 200)), max_size=60),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_whatever_happens(kept: int, course: list[tuple[Event, float]], ready: int, building: int) -> None:
    policy, now = PoolPolicy(kept, START), START
    for event, seconds in course:
        now += seconds
        event(policy, now)
        assert 0 <= policy.target <= MOST
        assert policy.idle == (policy.target == 0)
    missing = policy.missing(now, ready, building)
    assert missing in (0, max(policy.target - ready - building, 0))
    surplus = policy.surplus(now, ready)  # lowers the target where it is due
    assert missing == 0 or surplus == 0
    assert 0 <= surplus <= ready
    # Failures put it off, but never for ever; and once that is over the target is met exactly.
    later = now + RETRY_MOST_S
    assert policy.missing(later, ready, building) == max(policy.target - ready - building, 0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60))
def test_what_is_kept_is_the_least(course: list[tuple[bool, float]]) -> None:
    policy, now = PoolPolicy(KEPT, START), START
    for waits, seconds in course:
        now += seconds
        if waits:
            policy.had_to_wait(now)
        policy.surplus(now, 4)
        assert KEPT <= policy.target <= MOST
