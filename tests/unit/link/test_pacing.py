"""The pace: the promise over ten seconds, and the two lanes; all in virtual time."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from lattice_agent.link.pacing import Lanes, Pacer, TokenBucket

LIMITS = st.sampled_from([2.0, 5.0, 7.5, 40.0])


@given(LIMITS, st.lists(st.floats(0, 3), max_size=400))
def test_any_ten_seconds_stay_under_the_limit(limit_per_s: float, pauses_s: list[float]) -> None:
    """Whatever the callers do, with some pauses long enough to fill the burst."""
    bucket, now_s, taken_s = TokenBucket(limit_per_s=limit_per_s, now_s=0.0), 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        now_s += bucket.take(now_s) if bucket.take(now_s) else 0.0
        taken_s.append(now_s)
    for start_s in taken_s:
        window = [moment_s for moment_s in taken_s if start_s <= moment_s < start_s + 10]
        assert len(window) <= 10 * limit_per_s


@given(LIMITS, st.integers(2, 300))
def test_waiting_as_told_always_gives_the_token(limit_per_s: float, takes: int) -> None:
    bucket, now_s = TokenBucket(limit_per_s=limit_per_s, now_s=1e6), 1e6
    for _ in range(takes):
        wait_s = bucket.take(now_s)
        if wait_s:
            now_s += wait_s
            assert bucket.take(now_s) == 0.0
    assert now_s - 1e6 <= takes / (0.9 * limit_per_s) + 1e-3


def test_a_new_limit_counts_from_now_on() -> None:
    bucket = TokenBucket(limit_per_s=40.0, now_s=0.0)
    bucket.set_limit(5.0, 100.0)
    assert [bucket.take(100.0) == 0.0 for _ in range(5)] == [True] * 4 + [False]
    bucket.set_limit(40.0, 100.0)
    assert bucket.take(100.0) == pytest.approx(1 / 36)


def test_urgent_goes_first_but_only_every_other_turn_while_others_wait() -> None:
    lanes = Lanes()
    for number in range(3):
        lanes.join(f"ordinary {number}", urgent=False)
    for number in range(4):
        lanes.join(f"urgent {number}", urgent=True)
    order = []
    while (ticket := lanes.next()) is not None:
        order.append(ticket)
        lanes.served(ticket)
    assert order == [
        *("urgent 0", "ordinary 0", "urgent 1", "ordinary 1", "urgent 2", "ordinary 2"),
        "urgent 3",
    ]


@given(st.lists(st.tuples(st.sampled_from(["urgent", "ordinary", "serve", "leave"]), st.integers(0, 9)), max_size=60))
def test_the_lanes_keep_order_and_starve_nobody(steps: list[tuple[str, int]]) -> None:
    lanes, waiting, passed_over = Lanes(), dict[object, bool](), 0
    for number, (step, which) in enumerate(steps):
        if step in ("urgent", "ordinary"):
            lanes.join(number, urgent=step == "urgent")
            waiting[number] = step == "urgent"
        elif step == "leave" and waiting:
            ticket = list(waiting)[which % len(waiting)]
            lanes.leave(ticket)
            del waiting[ticket]
        elif step == "serve" and waiting:
            ticket = lanes.next()
            assert ticket == next(other for other, urgent in waiting.items() if urgent == waiting[ticket])
            ordinary_waits = not all(waiting.values())
            passed_over = passed_over + 1 if waiting[ticket] and ordinary_waits else 0
            assert passed_over <= 1
            lanes.served(ticket)
            del waiting[ticket]
    assert (lanes.next() is None) == (not waiting)


async def record(moments: list[float], turn: Callable[[], Awaitable[None]], times: int) -> None:
    for _ in range(times):
        await turn()
        moments.append(trio.current_time())


async def test_many_callers_together_keep_the_pace(autojump_clock: MockClock) -> None:
    pacer, moments = Pacer(5.0), list[float]()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(record, moments, pacer.turn, 30)
    assert len(moments) == 300
    for start_s in moments:
        assert sum(start_s <= moment_s < start_s + 10 for moment_s in moments) <= 50
    assert moments[-1] - moments[0] == pytest.approx((300 - 4) / 4.5)


async def test_a_heartbeat_does_not_queue_behind_the_others(autojump_clock: MockClock) -> None:
    pacer = Pacer(5.0)
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(pacer.turn)
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await pacer.turn(urgent=True)
        assert trio.current_time() - began <= 2 / 4.5
        nursery.cancel_scope.cancel()


async def test_an_urgent_flood_leaves_half_to_the_others(autojump_clock: MockClock) -> None:
    pacer, ordinary = Pacer(5.0), list[float]()

    async def flood() -> None:
        while True:
            await pacer.turn(urgent=True)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(flood)
        await record(ordinary, pacer.turn, 45)
        nursery.cancel_scope.cancel()
    assert ordinary[-1] - ordinary[0] <= 44 * 2 / 4.5 + 1


async def test_a_faster_pace_reaches_who_waits_already(autojump_clock: MockClock) -> None:
    pacer, moments = Pacer(0.1), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(record, moments, pacer.turn, 3)  # the second would have to wait for eleven seconds
        await trio.sleep(1)
        assert moments == [0.0]
        pacer.set_rate(40.0)
    assert moments[-1] <= 1 + 2 / 36 + 1e-3


async def test_a_cancelled_wait_costs_no_token(autojump_clock: MockClock) -> None:
    pacer = Pacer(5.0)
    for _ in range(4):
        await pacer.turn()
    for _ in range(50):
        with trio.move_on_after(0):
            await pacer.turn()
    await pacer.turn()
    assert trio.current_time() <= 1 / 4.5 + 1e-6
