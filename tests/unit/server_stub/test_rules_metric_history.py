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


def test_each_number_has_its_place_and_its_bound() -> None:
    sent = Metrics(cpu_percent=1, load1=2, memory_used=3, disk_used=4, net_rx_speed=5, net_tx_speed=6)
    assert sample_of(sent) == Sample(1, 2, 3, 4, 5, 6)
    names = ("cpu_percent", "load1", "memory_used", "disk_used", "net_rx_speed", "net_tx_speed")
    much = sample_of(Metrics.model_construct(**dict.fromkeys(names, 1e300)))  # type: ignore[arg-type]  # by name
    assert much == Sample(100.0, 1e6, 2.0**63, 2.0**63, 2.0**63, 2.0**63)
    unknown = sample_of(Metrics.model_construct(**dict.fromkeys(names, math.nan)))  # type: ignore[arg-type]
    assert unknown == flat(0.0)


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (Step.MINUTE, timedelta(hours=2)),
        (Step.TEN_MINUTES, timedelta(hours=26)),
        (Step.HOUR, timedelta(days=8)),
    ],
)
def test_how_long_means_are_kept(step: Step, kept: timedelta) -> None:
    assert kept_since(step, NOW) == start_of_step(step, NOW) - kept


def test_a_mean_keeps_the_beginning_of_its_step() -> None:
    point = with_sample(None, NOW, flat(1.0))
    assert (point.start, point.samples, point.mean) == (NOW, 1, flat(1.0))
    later = with_sample(point, NOW + timedelta(seconds=60), flat(4.0))
    assert (later.start, later.samples, later.mean) == (NOW + timedelta(seconds=60), 2, flat(2.5))


def test_a_heartbeat_without_metrics_is_no_sample() -> None:
    assert sample_of(Metrics()) is None
    assert sample_of(Metrics(collected_at=NOW)) is None
    assert sample_of(Metrics(memory_total=1)) is not None
