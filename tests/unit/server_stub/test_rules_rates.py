"""Token buckets against their definition."""

from hypothesis import given
from hypothesis import strategies as st

from server_stub.rules.rates import TokenBuckets


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400)), max_size=60))
def test_no_window_lets_through_more_than_burst_and_rate(requests: list[tuple[str, int]]) -> None:
    rate, burst = 10.0, 4
    buckets = TokenBuckets(rate, burst, max_keys=8)
    now = 0
    taken: dict[str, list[float]] = {"a": [], "b": []}
    for key, wait_ms in requests:
        now += wait_ms
        if buckets.take(key, now / 1000):
            taken[key].append(now / 1000)
    for times in taken.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                allowed = burst + (times[last] - times[first]) * rate
                assert last - first + 1 <= allowed + 1e-6


@given(st.integers(1, 50), st.floats(0.1, 100))
def test_a_caller_within_its_rate_is_never_refused(count: int, rate: float) -> None:
    buckets = TokenBuckets(rate, 1, max_keys=1)
    assert all(buckets.take("a", (n + n * 1e-9) / rate) for n in range(count))


def test_a_refusal_costs_nothing_and_keys_do_not_share() -> None:
    buckets = TokenBuckets(1.0, 1, max_keys=8)
    assert buckets.take("a", 0.0)
    assert not any(buckets.take("a", now) for now in (0.1, 0.5, 0.9))
    assert buckets.take("b", 0.9)
    assert buckets.take("a", 1.0)


def test_the_one_unseen_for_longest_is_forgotten() -> None:
    buckets = TokenBuckets(0.0, 1, max_keys=2)
    assert buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)
    assert not buckets.take("a", 0.0)
    assert buckets.take("c", 0.0)  # pushes out b, not a
    assert len(buckets) == 2
    assert not buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)
