"""Axes of drawings: which values and moments they name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server_stub.readable import size

_TICKS: Final = 4
"""Steps of an axis, about."""
_BINARY_STEPS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Axis:
    """From 0 to ``top``; ``ticks`` in rising order with their names."""

    top: float
    ticks: tuple[tuple[float, str], ...]


def axis(most: float, step: float, name: Callable[[float], str]) -> Axis:
    """Whole steps up to the first that holds ``most``, and one at least."""
    count = max(1, math.ceil(most / step - 1e-9))
    return Axis(count * step, tuple((number * step, name(number * step)) for number in range(count + 1)))


def decimal_axis(most: float, unit: str = "") -> Axis:
    """Steps of 1, 2 or 5 times a power of ten.

    >>> [name for _, name in decimal_axis(3.2).ticks]
    ['0', '1', '2', '3', '4']
    """
    rough = max(most, 1e-3) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return axis(most, step, lambda value: f"{value:g}{unit}")


def byte_axis(most: float, per_second: bool = False) -> Axis:
    """Steps of powers of two.

    >>> [name for _, name in byte_axis(3 * 2**30).ticks]
    ['0', '1 GiB', '2 GiB', '3 GiB']
    """
    rough = max(most, 4.0) / _TICKS
    unit = 1024.0 ** max(0, math.floor(math.log(rough, 1024)))
    step = unit * next((factor for factor in _BINARY_STEPS if factor * unit >= rough * 0.999), 1024)
    return axis(most, step, lambda value: _bytes_name(value) + ("/s" if per_second and value else ""))


def _bytes_name(value: float) -> str:
    return size(int(value)).replace(".0 ", " ") if value else "0"


def percent_axis() -> Axis:
    """Always the whole."""
    return axis(100, 25, lambda value: f"{value:.0f} %")


def time_ticks(since: datetime, until: datetime) -> list[tuple[datetime, str]]:
    """Round moments in between: ten minutes, four hours or days, whichever are few."""
    length = until - since
    if length <= timedelta(hours=2):
        return _moments(since, until, timedelta(minutes=10), "%H:%M")
    if length <= timedelta(hours=30):
        return _moments(since, until, timedelta(hours=4), "%H:%M")
    return _moments(since, until, timedelta(days=1), "%d %b")


def _moments(since: datetime, until: datetime, step: timedelta, written: str) -> list[tuple[datetime, str]]:
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight + math.ceil((since - midnight) / step) * step
    count = (until - first) // step + 1
    return [(moment, moment.strftime(written)) for moment in (first + number * step for number in range(count))]
