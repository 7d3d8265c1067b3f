"""The back-off's bounds, and that a fleet does not move together."""

import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.link.backoff import MAX_RETRY_AFTER_S, Backoff

SEEDS = st.integers(0, 2**32)
BASES = st.floats(0.01, 100)
FACTORS = st.floats(1, 1000)
WISHES = st.none() | st.floats(0, 1e9) | st.just(float("inf"))


@given(SEEDS, BASES, FACTORS, st.lists(WISHES, min_size=1, max_size=40))
def test_every_delay_is_in_its_bounds(seed: int, base_s: float, factor: float, wishes: list[float | None]) -> None:
    rng, cap_s = random.Random(seed), base_s * factor
    backoff = Backoff(base_s, cap_s)
    for wish in wishes:
        delay_s = backoff.failed(rng, wish)
        floor_s = max(base_s / 2, min(wish or 0, MAX_RETRY_AFTER_S))
        assert floor_s <= delay_s <= max(cap_s, floor_s * 1.25) * (1 + 1e-9)


@given(SEEDS, st.integers(1, 200))
def test_the_ceiling_doubles_to_the_cap_and_success_begins_again(seed: int, failures: int) -> None:
    rng, backoff = random.Random(seed), Backoff(1.0, 60.0)
    for count in range(failures):
        assert 0.5 <= backoff.failed(rng) <= min(60.0, 2.0**count)
    backoff.succeeded()
    assert backoff.failed(rng) <= 1.0


def test_delays_grow_on_average() -> None:
    fleet = [(random.Random(seed), Backoff(1.0, 64.0)) for seed in range(500)]
    means = [fmean(backoff.failed(rng) for rng, backoff in fleet) for _ in range(7)]
    assert means == sorted(means)
    assert means[-1] > 16 * means[0]


@pytest.mark.parametrize("wish", [None, 60.0, 86400.0])
def test_a_fleet_does_not_come_back_together(wish: float | None) -> None:
    """A thousand agents fail at the same moment, three times: no fiftieth of the window holds a tenth of them."""
    fleet = [(random.Random(seed), Backoff(1.0, 60.0)) for seed in range(1000)]
    for _ in range(3):
        delays = [backoff.failed(rng, wish) for rng, backoff in fleet]
        low, high = min(delays), max(delays)
        assert high >= 1.2 * low
        slots = [0] * 50
        for delay_s in delays:
            slots[min(49, int(50 * (delay_s - low) / (high - low)))] += 1
        assert max(slots) < 100


@pytest.mark.parametrize(("base_s", "cap_s"), [(0, 1), (-1, 1), (2, 1), (float("nan"), 1)])
def test_bounds_that_make_no_sense_are_refused(base_s: float, cap_s: float) -> None:
    with pytest.raises(ValueError, match="base_s"):
        Backoff(base_s, cap_s)
