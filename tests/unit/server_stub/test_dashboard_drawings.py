"""Charts: what is drawn lies within the drawing, and gaps stay gaps."""

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from server_stub.dashboard import bar_charts, line_charts, sparks
from server_stub.dashboard.bar_charts import bar_chart
from server_stub.dashboard.line_charts import Frame, line_chart, unbroken
from server_stub.dashboard.scales import percent_axis
from server_stub.dashboard.sparks import spark

STEP = timedelta(seconds=60)
SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNTIL = SINCE + timedelta(hours=1)
POINTS = st.dictionaries(st.integers(0, 59), st.floats(0, 1e12), max_size=60).map(
    lambda found: [(SINCE + number * STEP, value) for number, value in sorted(found.items())]
)


def at(*minutes: int) -> list[tuple[datetime, float]]:
    return [(SINCE + minute * STEP, 50.0) for minute in minutes]


def places(path: str) -> list[tuple[float, float]]:
    assert re.fullmatch(r"(?:[ML][\d.]+ [\d.]+)*", path), path
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


def test_a_gap_interrupts_the_line() -> None:
    assert [len(stretch) for stretch in unbroken(at(0, 1, 2, 5, 7, 8), STEP)] == [3, 1, 2]
    assert list(unbroken([], STEP)) == []
    [line] = line_chart(Frame(SINCE, UNTIL, STEP, percent_axis()), [("x", at(0, 1, 2, 5, 7, 8))]).lines
    assert line.path.count("M") == 2
    assert len(line.dots) == 1


@given(POINTS)
def test_every_point_is_inside(points: list[tuple[datetime, float]]) -> None:
    chart = line_chart(Frame(SINCE, UNTIL, STEP, percent_axis()), [("x", points)])
    [line] = chart.lines
    drawn = [*places(line.path), *line.dots]
    assert len(drawn) == len(points)
    for x, y in drawn:
        assert line_charts.LEFT <= x <= line_charts.WIDTH - line_charts.RIGHT
        assert line_charts.TOP <= y <= line_charts.HEIGHT - line_charts.BOTTOM


@given(POINTS)
def test_every_spark_is_inside(points: list[tuple[datetime, float]]) -> None:
    drawn = spark(points, SINCE, UNTIL, STEP)
    assert (drawn is None) == (not points)
    if drawn is not None:
        for x, y in places(drawn.path):
            assert 0 <= x <= sparks.WIDTH
            assert 0 <= y <= sparks.HEIGHT


def test_a_low_load_stays_low() -> None:
    drawn = spark([(SINCE, 0.02), (SINCE + STEP, 0.04)], SINCE, UNTIL, STEP)
    assert drawn is not None
    assert min(y for _, y in places(drawn.path)) > sparks.HEIGHT * 0.8
    assert drawn.text == "load over the last hour: now 0.04, highest 0.04"


@given(st.lists(st.floats(0, 2.0**63), max_size=40))
def test_every_bar_is_inside(values: list[float]) -> None:
    chart = bar_chart([(f"d{number}", value) for number, value in enumerate(values)])
    assert len(chart.bars) == len(values)
    for bar, value in zip(chart.bars, values, strict=True):
        assert bar.x >= bar_charts.LEFT
        assert bar.x + bar.width <= bar_charts.WIDTH - bar_charts.RIGHT + 0.2
        assert bar.y >= bar_charts.TOP - 0.2
        assert (bar.height > 0) == (value > 0)


def test_few_bars_are_named_and_the_newest_is() -> None:
    bars = bar_chart([(f"d{number}", 1.0) for number in range(30)]).bars
    assert bars[-1].named
    assert 6 <= sum(bar.named for bar in bars) <= 10
