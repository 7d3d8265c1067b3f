"""Does it grow? Pure functions over points in time.

A leak is slow and steady; what surrounds it is noise with spikes, and follows itself: a heap that is large now is large
in a second. So the slope is Theil and Sen's (the median of the slopes of all pairs of points), which a few spikes do
not move, and its confidence interval is Kendall's, widened by what neighbouring points have in common (Matalas and
Langbein 1962). A process that is killed begins anew: points of two lives are never compared, the pairs of all lives are
judged together, as Hirsch, Slack and Smith (1982) do with the seasons of several years.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import NormalDist, median
from typing import Final

Points = Sequence[tuple[float, float]]
"""(x, value) of one life, x rising."""

CONFIDENCE: Final = 0.99
"""Two-sided. A run has some twenty verdicts; with 95 % one of them would be wrong without any leak."""
MOST_POINTS: Final = 150
"""Of one life: time grows with its square. What is more is thinned to medians, which lose no steady growth."""
FEWEST_PAIRS: Final = 60
"""Some eleven points of one life; with fewer nothing is said."""
MOST_COMMON: Final = 0.95
"""Of neighbouring points. Beyond it a line and a drift cannot be told apart by this number."""


class Verdict(StrEnum):
    """What is said of a quantity."""

    FLAT = "flat"
    GROWS = "grows"
    UNCLEAR = "unclear"
    """It may grow, or go up and down more slowly than this run can tell."""
    UNKNOWN = "too few points"


@dataclass(frozen=True)
class Trend:
    """A slope and the ends of its confidence interval, per unit of x."""

    slope: float
    low: float
    high: float
    pairs: int

    def scaled(self, factor: float) -> "Trend":
        """Per ``factor`` units of x."""
        return Trend(self.slope * factor, self.low * factor, self.high * factor, self.pairs)


def judge(trend: Trend, tolerance: float) -> Verdict:
    """Grows if it rises by more than the tolerance (in the trend's unit), and surely: the interval lies above zero."""
    if trend.pairs < FEWEST_PAIRS:
        return Verdict.UNKNOWN
    if trend.slope <= tolerance:
        return Verdict.FLAT
    return Verdict.GROWS if trend.low > 0 else Verdict.UNCLEAR


def trend_of(lives: Iterable[Points], confidence: float = CONFIDENCE) -> Trend:
    """The common slope of all lives. Without any pair of points it is 0, from minus to plus infinity."""
    thinned = [thin(life) for life in lives]
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for life in thinned
        for number, later in enumerate(life)
        for earlier in life[:number]
    )
    if not slopes:
        return Trend(0.0, -math.inf, math.inf, 0)
    slope = median(slopes)
    variance = sum(_kendall_variance([value for _, value in life]) for life in thinned)
    common = _common(thinned, slope)
    deviation = math.sqrt(variance * (1 + common) / (1 - common))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * deviation
    last = len(slopes) - 1
    low, high = math.floor((last - reach) / 2), math.ceil((last + reach) / 2)
    return Trend(slope, slopes[low] if low >= 0 else -math.inf, slopes[high] if high <= last else math.inf, len(slopes))


def thin(life: Points, most: int = MOST_POINTS) -> Points:
    """At most so many points: medians of as many neighbours as it takes."""
    width = math.ceil(len(life) / most)
    groups = (life[start : start + width] for start in range(0, len(life), max(width, 1)))
    return [(median(x for x, _ in group), median(value for _, value in group)) for group in groups]


def _kendall_variance(values: Sequence[float]) -> float:
    """Of the number of rising pairs less the falling ones, if there is no trend; equal values have a smaller one."""
    count = len(values)
    equal = (values.count(value) for value in set(values))
    whole = count * (count - 1) * (2 * count + 5)
    return (whole - sum(same * (same - 1) * (2 * same + 5) for same in equal)) / 18


def _common(lives: Sequence[Points], slope: float) -> float:
    """How much a point says of the next: the correlation of neighbours, once the slope is taken away; not below 0."""
    products = squares = 0.0
    for life in lives:
        rests = [value - slope * x for x, value in life]
        level = median(rests) if rests else 0.0
        bounded = _without_spikes([rest - level for rest in rests])
        products += sum(one * other for one, other in pairwise(bounded))
        squares += sum(rest * rest for rest in bounded)
    return min(max(products / squares, 0.0), MOST_COMMON) if squares else 0.0


def _without_spikes(rests: Sequence[float]) -> Sequence[float]:
    """Cut at five times the usual distance: a single spike would hide what its neighbours have in common."""
    usual = median(abs(rest) for rest in rests) if rests else 0.0
    bound = 5 * usual or math.inf
    return [max(-bound, min(rest, bound)) for rest in rests]


def after(life: Points, warm_up: float) -> Points:
    """Without the beginning: what is learnt, filled and cached at first is no leak."""
    return [point for point in life if point[0] - life[0][0] >= warm_up]
