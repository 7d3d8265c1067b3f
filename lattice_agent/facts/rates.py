"""Rates between two readings (pure): never negative, never absurd, whatever the counters did in between.

A counter that fell (wrap, reset, a replaced interface of the same name) or an interface seen for the first time adds
nothing for that interval. So does a step that no link can make: such a figure is a driver's fault, and one of them
would spoil a graph for a month.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lattice_agent.facts.cpu import busy_percent, percent_from_load
from lattice_agent.facts.reading import Reading
from lattice_agent.facts.traffic import Traffic

MIN_ELAPSED_S: Final = 0.5
"""Readings closer than this say more about the clock tick than about the host; the earlier rates are repeated."""

FASTEST_LINK: Final = 1e12
"""Bytes per second; an order of magnitude above the fastest interface sold."""


@dataclass(frozen=True, slots=True)
class Rates:
    """``cpu_percent`` 0..100; speeds in bytes per second."""

    cpu_percent: float = 0.0
    rx_speed: float = 0.0
    tx_speed: float = 0.0


def first_rates(reading: Reading) -> Rates:
    """Rates when there is nothing to compare with: CPU from the load, speeds 0."""
    return Rates(percent_from_load(reading.load, reading.cores))


def rates_between(before: Reading, after: Reading, elapsed_s: float, last: Rates) -> Rates:
    """Rates over ``elapsed_s`` monotonic seconds (above 0); ``last`` is repeated where the source says nothing."""
    percent = busy_percent(before.cpu, after.cpu) if before.cpu and after.cpu else None
    gained = _gained(before.traffic, after.traffic, elapsed_s)
    return Rates(last.cpu_percent if percent is None else percent, gained.rx / elapsed_s, gained.tx / elapsed_s)


def _gained(before: Mapping[str, Traffic], after: Mapping[str, Traffic], elapsed_s: float) -> Traffic:
    rx = tx = 0
    for name in before.keys() & after.keys():
        rx += _step(before[name].rx, after[name].rx, elapsed_s)
        tx += _step(before[name].tx, after[name].tx, elapsed_s)
    return Traffic(rx, tx)


def _step(before: int, after: int, elapsed_s: float) -> int:
    step = after - before
    return step if 0 <= step <= FASTEST_LINK * elapsed_s else 0
