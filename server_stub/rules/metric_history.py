"""The history of a node's metrics: means over steps of three lengths, each kept for as long as it is looked at.

A heartbeat is added to the running mean of the minute, the ten minutes and the hour that it falls into, by the
server's clock. Nothing is computed later, so a node that reports nothing costs nothing, and where it reported nothing
there is no row: a gap stays a gap. At most ``MOST_ROWS`` rows a node, some 40 kB.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, NamedTuple

from lattice_agent.wire.metrics import Metrics
from server_stub.times import EPOCH


class Step(Enum):
    """Seconds of a step, and how long its means are kept: what a chart shows, and a little more."""

    MINUTE = (60, timedelta(hours=2))
    TEN_MINUTES = (600, timedelta(hours=26))
    HOUR = (3_600, timedelta(days=8))

    def __init__(self, seconds: int, kept: timedelta) -> None:
        self.seconds = seconds
        self.kept = kept


MOST_ROWS: Final = sum(step.kept // timedelta(seconds=step.seconds) + 1 for step in Step)
_LARGEST: Final = float(2**63)


class Sample(NamedTuple):
    """One moment of a node, or a mean: percent, threads, bytes and bytes a second."""

    cpu_percent: float
    load1: float
    memory_used: float
    disk_used: float
    rx_speed: float
    tx_speed: float


@dataclass(frozen=True)
class MetricPoint:
    """The mean of so many samples in the step that began at ``start``."""

    start: datetime
    samples: int
    mean: Sample


@dataclass(frozen=True)
class Window:
    """What a chart shows: steps of one length, so far back."""

    step: Step
    length: timedelta


WINDOWS: Final = {
    "1h": Window(Step.MINUTE, timedelta(hours=1)),
    "24h": Window(Step.TEN_MINUTES, timedelta(hours=24)),
    "7d": Window(Step.HOUR, timedelta(days=7)),
}


def sample_of(metrics: Metrics) -> Sample | None:
    """What is kept of a heartbeat; ``None`` of one that says nothing. A node may send any number, so each is put
    between 0 and what it can be."""
    if metrics.model_copy(update={"collected_at": None}) == Metrics():
        return None
    return Sample(
        _within(metrics.cpu_percent, 100.0),
        _within(metrics.load1, 1e6),
        _within(metrics.memory_used, _LARGEST),
        _within(metrics.disk_used, _LARGEST),
        _within(metrics.net_rx_speed, _LARGEST),
        _within(metrics.net_tx_speed, _LARGEST),
    )


def _within(value: float, most: float) -> float:
    return min(max(float(value), 0.0), most) if not math.isnan(value) else 0.0


def start_of_step(step: Step, moment: datetime) -> datetime:
    """When the step began that holds ``moment``: steps are counted from 1970, so that all nodes share them."""
    return moment - (moment - EPOCH) % timedelta(seconds=step.seconds)


def kept_since(step: Step, now: datetime) -> datetime:
    """Steps that began earlier are forgotten."""
    return start_of_step(step, now) - step.kept


def shown_since(window: Window, now: datetime) -> datetime:
    """The first step of a chart; its last one is the step that is not over."""
    return start_of_step(window.step, now) - window.length + timedelta(seconds=window.step.seconds)


def with_sample(point: MetricPoint | None, start: datetime, sample: Sample) -> MetricPoint:
    """The step's mean with one sample more.

    >>> one, three = Sample(1, 1, 1, 1, 1, 1), Sample(3, 3, 3, 3, 3, 3)
    >>> with_sample(with_sample(None, EPOCH, one), EPOCH, three).mean.cpu_percent
    2.0
    """
    if point is None:
        return MetricPoint(start, 1, sample)
    count = point.samples + 1
    moved = (mean + (value - mean) / count for mean, value in zip(point.mean, sample, strict=True))
    return MetricPoint(start, count, Sample(*moved))
