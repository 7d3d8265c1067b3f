"""Bar charts of bytes by day or month, as shapes that a template writes into an SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server_stub.dashboard.scales import byte_axis
from server_stub.readable import size

WIDTH: Final = 560
HEIGHT: Final = 190
LEFT: Final = 74
RIGHT: Final = 22
TOP: Final = 12
BOTTOM: Final = 24
_GAP: Final = 0.25
"""Share of a bar's place that stays free."""
_NAMES: Final = 6
"""About so many bars are named on the axis; a name for each would not fit."""


@dataclass(frozen=True)
class Bar:
    """One bar with its place, and its name under the axis where there is room for it."""

    x: float
    y: float
    width: float
    height: float
    middle: float
    name: str
    text: str
    named: bool


@dataclass(frozen=True)
class BarChart:
    """Everything of an SVG of ``WIDTH`` by ``HEIGHT``."""

    bars: tuple[Bar, ...]
    rules: tuple[tuple[float, str], ...]
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def bar_chart(values: Sequence[tuple[str, float]]) -> BarChart:
    """One bar for each name and number of bytes."""
    scale = byte_axis(max((value for _, value in values), default=0.0))
    place = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    every = max(1, round(len(values) / _NAMES))

    def bar(number: int, name: str, value: float) -> Bar:
        height = value / scale.top * (HEIGHT - TOP - BOTTOM)
        if value:
            height = max(height, 1.0)  # a little is not nothing
        x = LEFT + number * place
        y = HEIGHT - BOTTOM - height
        sizes = (round(x + place * _GAP / 2, 1), round(y, 1), round(place * (1 - _GAP), 1), round(height, 1))
        # Counted from the newest, which is always named.
        named = (len(values) - 1 - number) % every == 0
        return Bar(*sizes, round(x + place / 2, 1), name, size(int(value)), named)

    return BarChart(
        tuple(bar(number, name, value) for number, (name, value) in enumerate(values)),
        tuple(
            (round(HEIGHT - BOTTOM - value / scale.top * (HEIGHT - TOP - BOTTOM), 1), name)
            for value, name in scale.ticks
        ),
    )
