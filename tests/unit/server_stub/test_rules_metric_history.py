"""Means, steps and what is kept of them."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.wire.metrics import Metrics
from server_stub.rules.metric_history import (
    MOST_ROWS,
    WINDOWS,
    Sample,
    Step,
    kept_since,
    sample_of,
    shown_since,
    start_of_step,
    with_sample,
)

NOW = datetime(2026, 3, 1, 12, 34, 56, 789, tzinfo=UTC)
VALUES = st.floats(0, 1e12)


def flat(value: float) -> Sample:
    return Sample(value, value, value, value, value, value)


@given(st.lists(VALUES, min_size=1, max_size=50))
def test_the_running_mean_is_the_mean(values: list[float]) -> None:
    point = None
    for value in values:
        point = with_sample(point, NOW, flat(value))
    assert point is not None
    assert point.samples == len(values)
    assert math.isclose(point.mean.rx_speed, math.fsum(values) / len(values), rel_tol=1e-9, abs_tol=1e-6)
    assert min(values) - 1e-3 <= point.mean.load1 <= max(values) + 1e-3


@pytest.mark.parametrize("step", list(Step))
@given(moment=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_moment_is_in_its_step(step: Step, moment: datetime) -> None:
    start = start_of_step(step, moment)
    assert start <= moment < start + timedelta(seconds=step.seconds)
    assert start_of_step(step, start) == start


def test_steps_begin_at_the_hour() -> None:
    assert [start_of_step(step, NOW).isoformat() for step in Step] == [
        "2026-03-01T12:34:00+00:00",
        "2026-03-01T12:30:00+00:00",
        "2026-03-01T12:00:00+00:00",
    ]


@pytest.mark.parametrize(("name", "points"), [("1h", 60), ("24h", 144), ("7d", 168)])
def test_what_is_shown_is_kept(name: str, points: int) -> None:
    window = WINDOWS[name]
    first = shown_since(window, NOW)
    assert kept_since(window.step, NOW) < first
    assert (start_of_step(window.step, NOW) - first) // timedelta(seconds=window.step.seconds) + 1 == points


def test_the_rows_of_a_node_are_few() -> None:
    assert MOST_ROWS == 121 + 157 + 193


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), -1.0, 1e300])
def test_no_number_of_a_node_leaves_its_bounds(value: float) -> None:
    sent = Metrics.model_construct(cpu_percent=value, load1=value, net_rx_speed=value, net_tx_speed=value)
    sample = sample_of(sent)
    assert sample is not None
    assert 0 <= sample.cpu_percent <= 100
    assert 0 <= sample.load1 <= 1e6
    assert 0 <= sample.rx_speed <= 2**63


def test_a_heartbeat_without_metrics_is_no_sample() -> None:
    assert sample_of(Metrics()) is None
    assert sample_of(Metrics(collected_at=NOW)) is None
    assert sample_of(Metrics(memory_total=1)) is not None
