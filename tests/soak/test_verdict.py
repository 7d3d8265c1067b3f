"""The judgement over series of which it is known whether they grow."""

import math
import random
from collections.abc import Callable

import pytest

from tests.soak.verdict import FEWEST_PAIRS, MOST_POINTS, Points, Verdict, after, judge, thin, trend_of

DAY_S = 86_400.0
MINUTES = 20
EVERY_S = 3.0
SEEDS = range(10)


def series(value: Callable[[float], float], minutes: float = MINUTES) -> Points:
    """Samples of a life, every three seconds."""
    return [(number * EVERY_S, value(number * EVERY_S)) for number in range(int(minutes * 60 / EVERY_S))]


def verdict(*lives: Points, tolerance_per_day: float) -> Verdict:
    return judge(trend_of(lives).scaled(DAY_S), tolerance_per_day)


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_does_not_grow(seed: int) -> None:
    """Not even without a tolerance; with one of 24 MiB it is flat."""
    chance = random.Random(seed)
    life = series(lambda _: 40_000 + chance.gauss(0, 300))
    assert verdict(life, tolerance_per_day=0.0) is not Verdict.GROWS
    assert verdict(life, tolerance_per_day=24 * 1024) is Verdict.FLAT


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_that_follows_itself_does_not_grow(seed: int) -> None:
    """Half of each excursion is left after 20 s: without the widening one in five of these would be a leak."""
    chance, level = random.Random(seed), 0.0

    def drift(_at: float) -> float:
        nonlocal level
        level = 0.9 * level + chance.gauss(0, 60)
        return 40_000 + level

    assert verdict(series(drift), tolerance_per_day=0.0) is not Verdict.GROWS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_descriptor_a_minute_grows(seed: int) -> None:
    """In steps, under connections that come and go."""
    chance = random.Random(seed)
    leak = series(lambda at: 30 + at // 60 + chance.choice((0, 0, 0, 1, 2, 5)))
    assert verdict(leak, tolerance_per_day=100.0) is Verdict.GROWS


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_kilobytes_a_minute_grow_in_noise_and_spikes(seed: int) -> None:
    chance = random.Random(seed)

    def leak(at: float) -> float:
        return 40_000 + 50 * at / 60 + chance.gauss(0, 150) + (chance.random() < 0.05) * 20_000

    assert verdict(series(leak), tolerance_per_day=24 * 1024) is Verdict.GROWS


def test_growth_within_the_tolerance_is_flat() -> None:
    assert verdict(series(lambda at: at / DAY_S * 1_000), tolerance_per_day=1_001) is Verdict.FLAT
    assert verdict(series(lambda at: at / DAY_S * 1_000), tolerance_per_day=999) is Verdict.GROWS


def test_a_climb_at_the_start_is_warm_up() -> None:
    """Three minutes of climbing, then noise: a slope until the warm-up is taken away."""
    chance = random.Random(5)
    life = series(lambda at: min(at, 180) * 40 + chance.gauss(0, 100), minutes=8)
    whole, rest = trend_of([life]), trend_of([after(life, 180)])
    assert whole.slope > 0.5
    assert abs(rest.slope) < 0.3
    assert judge(rest, 0.0) is not Verdict.GROWS


def test_lives_are_compared_with_themselves_only() -> None:
    """Each begins higher than the one before and falls: together they rise, and none of them grows."""
    chance = random.Random(2)
    lives = [
        [(x + 300 * life, 1_000 * life - x + chance.gauss(0, 20)) for x, _ in series(lambda _: 0, 5)]
        for life in range(4)
    ]
    assert trend_of([[point for life in lives for point in life]]).slope > 0
    assert trend_of(lives).high < 0


def test_short_lives_show_together_what_none_shows_alone() -> None:
    chance = random.Random(3)
    lives = [series(lambda at: at / 10 + chance.gauss(0, 2), minutes=0.5) for _ in range(12)]
    together, alone = trend_of(lives), trend_of(lives[:1])
    assert alone.low <= 0 < together.low
    assert together.slope == pytest.approx(0.1, rel=0.4)


def test_what_wanders_for_as_long_as_one_looks_is_unclear() -> None:
    """Up by 8 MB in ten minutes, and down again: on the way up nobody can know."""
    chance, life = random.Random(6), series(lambda at: 8_000 * math.sin(at / 600 * math.pi / 2), minutes=10)
    wandering = [(at, value + 2_000 * math.sin(at / 40) + chance.gauss(0, 10)) for at, value in life[-80:]]
    assert verdict(wandering, tolerance_per_day=24 * 1024) is Verdict.UNCLEAR


def test_too_few_points_say_nothing() -> None:
    """Not even of a plain leak; and no points are no error."""
    life = series(lambda at: at, minutes=0.5)
    assert len(life) * (len(life) - 1) / 2 < FEWEST_PAIRS
    assert verdict(life, tolerance_per_day=0.0) is Verdict.UNKNOWN
    nothing = trend_of([])
    assert (nothing.slope, nothing.low, nothing.high) == (0.0, -math.inf, math.inf)
    assert judge(nothing, 0.0) is Verdict.UNKNOWN


def test_the_interval_holds_the_true_slope() -> None:
    """With 99 %: of 60 series at most a few may miss it."""
    missed = 0
    for seed in range(60):
        chance = random.Random(seed)
        trend = trend_of([series(lambda at, chance=chance: at / 100 + chance.gauss(0, 5), minutes=4)])
        missed += not trend.low <= 0.01 <= trend.high
    assert missed <= 3


def test_thinning_keeps_the_slope_and_bounds_the_work() -> None:
    life = series(lambda at: at / 7, minutes=600)
    thinned = thin(life)
    assert len(thinned) <= MOST_POINTS
    assert trend_of([life]).slope == pytest.approx(1 / 7)
    assert thin(life[:10]) == life[:10]
    assert thin([]) == []
