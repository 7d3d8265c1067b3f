"""A line of a few points without axes, for a cell of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from server_stub.dashboard.line_charts import unbroken

WIDTH: Final = 100
HEIGHT: Final = 24
_LEAST_TOP: Final = 1.0
"""A load below this stays low: a node that does nothing must not look busy."""


@dataclass(frozen=True)
class Spark:
    """Paths within ``WIDTH`` by ``HEIGHT``, and what a reader who does not see it is told."""

    path: str
    under: str
    text: str


def spark(points: Sequence[tuple[datetime, float]], since: datetime, until: datetime, step: timedelta) -> Spark | None:
    """``None`` when there is nothing to draw."""
    if not points:
        return None
    values = [value for _, value in points]
    top = max(*values, _LEAST_TOP)
    path, under = "", ""
    for stretch in unbroken(points, step):
        places = [(_x(at, since, until), round(HEIGHT - 1 - value / top * (HEIGHT - 3), 1)) for at, value in stretch]
        if len(places) == 1:
            places.append((places[0][0] + 1, places[0][1]))
        line = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
        path += line
        under += f"{line}L{places[-1][0]:g} {HEIGHT}L{places[0][0]:g} {HEIGHT}Z"
    return Spark(path, under, f"load over the last hour: now {values[-1]:.2f}, highest {max(values):.2f}")


def _x(at: datetime, since: datetime, until: datetime) -> float:
    return round((at - since) / (until - since) * WIDTH, 1)
