"""Line charts over time, as shapes that a template writes into an SVG. All in UTC."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from server_stub.dashboard.scales import Axis, time_ticks

WIDTH: Final = 560
HEIGHT: Final = 190
LEFT: Final = 74
RIGHT: Final = 14
TOP: Final = 12
BOTTOM: Final = 24

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True)
class Frame:
    """What the chart is of: from ``since`` to ``until``, a value for each ``step``."""

    since: datetime
    until: datetime
    step: timedelta
    axis: Axis


@dataclass(frozen=True)
class Line:
    """One series: a path of its unbroken stretches, and dots where one stands alone."""

    name: str
    path: str
    under: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LineChart:
    """Everything of an SVG of ``WIDTH`` by ``HEIGHT``."""

    lines: tuple[Line, ...]
    rules: tuple[tuple[float, str], ...]
    """Height and name of each horizontal rule."""
    moments: tuple[tuple[float, str], ...]
    """Place and name of each moment."""
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def line_chart(frame: Frame, series: Sequence[tuple[str, Points]]) -> LineChart:
    """Values beyond the axis are drawn at its end. Where a step has no value the line is interrupted."""
    return LineChart(
        tuple(_line(frame, name, points) for name, points in series),
        tuple((_y(frame, value), name) for value, name in frame.axis.ticks),
        tuple((_x(frame, moment), name) for moment, name in time_ticks(frame.since, frame.until)),
    )


def _line(frame: Frame, name: str, points: Points) -> Line:
    stretches = [
        [(_x(frame, at), _y(frame, value)) for at, value in stretch] for stretch in unbroken(points, frame.step)
    ]
    drawn = [stretch for stretch in stretches if len(stretch) > 1]
    base = HEIGHT - BOTTOM
    under = [f"{_path(stretch)}L{stretch[-1][0]:g} {base}L{stretch[0][0]:g} {base}Z" for stretch in drawn]
    dots = tuple(stretch[0] for stretch in stretches if len(stretch) == 1)
    return Line(name, "".join(map(_path, drawn)), "".join(under), dots)


def unbroken(points: Points, step: timedelta) -> Iterator[list[tuple[datetime, float]]]:
    """Stretches in which each point follows the one before by a step."""
    stretch = list(points[:1])
    for before, point in pairwise(points):
        if point[0] - before[0] > step:
            yield stretch
            stretch = []
        stretch.append(point)
    if stretch:
        yield stretch


def _path(stretch: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in stretch)


def _x(frame: Frame, moment: datetime) -> float:
    share = (moment - frame.since) / (frame.until - frame.since)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(frame: Frame, value: float) -> float:
    share = min(max(value / frame.axis.top, 0.0), 1.0)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)
