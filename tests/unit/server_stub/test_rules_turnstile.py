"""A fleet that comes back together is let in one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from server_stub.rules.turnstile import LONGEST_S, turnstile


@given(st.integers(1, 400), st.floats(1.0, 100.0), st.integers(1, 100), st.floats(1.0, 1.25))
def test_a_fleet_that_obeys_is_in_after_its_number_over_the_rate(
    fleet: int, rate: float, burst: int, late: float
) -> None:
    enter = turnstile(rate, burst)
    waiting, entered = [0.0] * fleet, []
    while waiting:
        now = min(waiting)
        waiting.remove(now)
        wait_s = enter(now)
        assert 0 <= wait_s <= LONGEST_S
        if wait_s:
            waiting.append(now + max(wait_s, 1 / rate) * late)
        else:
            entered.append(now)
    for moment in entered:
        assert sum(1 for other in entered if 0 <= other - moment < 1) <= burst + rate + 1
    assert entered[-1] <= 2 * (fleet / rate + LONGEST_S)


def test_each_is_told_another_time_one_after_the_other() -> None:
    enter = turnstile(rate=2.0, burst=2)
    assert [enter(0.0) for _ in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert [enter(0.5), enter(0.5)] == [0.0, 1.5]


def test_who_comes_alone_passes() -> None:
    enter = turnstile(1.0, 1)
    assert [enter(float(second)) for second in range(10)] == [0.0] * 10


def test_nobody_waits_longer_than_a_minute() -> None:
    enter = turnstile(1.0, 1)
    assert max(enter(0.0) for _ in range(1_000)) == LONGEST_S == 60.0
