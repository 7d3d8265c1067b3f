"""The charts of a node's metrics over time, each with its figures in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from server_stub.dashboard.line_charts import Frame, LineChart, line_chart
from server_stub.dashboard.scales import Axis, byte_axis, decimal_axis, percent_axis
from server_stub.readable import size
from server_stub.rules.metric_history import MetricPoint, Window, shown_since

Read = Callable[[MetricPoint], float]
_MOST_BYTES: Final = 2.0**63


@dataclass(frozen=True)
class Chart:
    """A drawing, its title, and what a reader who does not see it is told."""

    title: str
    names: tuple[str, ...]
    text: str
    drawn: LineChart


@dataclass(frozen=True)
class History:
    """All charts of a window, and their figures as rows of a table."""

    charts: tuple[Chart, ...]
    rows: tuple[tuple[datetime, tuple[str, ...]], ...]
    step: timedelta


def history(points: Sequence[MetricPoint], window: Window, metrics: Mapping[str, Any], now: datetime) -> History:
    """``metrics`` is what the node said last: the sizes of its memory and disk are in it."""
    step = timedelta(seconds=window.step.seconds)
    frame = _Frames(points, shown_since(window, now), now, step)
    memory, disk = _total(metrics, "memory_total"), _total(metrics, "disk_total")
    charts = (
        frame.chart("CPU", percent_axis(), _percent, cpu=_cpu),
        frame.chart("Load, 1 min", decimal_axis(max(1.0, frame.most(_load))), _plain, load=_load),
        frame.chart("Memory" + _of(memory), byte_axis(memory or frame.most(_memory)), _size, used=_memory),
        frame.chart("Disk" + _of(disk), byte_axis(disk or frame.most(_disk)), _size, used=_disk),
        frame.chart("Network", byte_axis(frame.most(_received, _sent), True), _speed, received=_received, sent=_sent),
    )
    return History(charts, tuple((point.start, _cells(point)) for point in reversed(points)), step)


@dataclass(frozen=True)
class _Frames:
    points: Sequence[MetricPoint]
    since: datetime
    until: datetime
    step: timedelta

    def chart(self, title: str, axis: Axis, written: Callable[[float], str], **series: Read) -> Chart:
        frame = Frame(self.since, max(self.until, self.since + self.step), self.step, axis)
        many = len(series) > 1
        lines = [(name, [(point.start, read(point)) for point in self.points]) for name, read in series.items()]
        text = "; ".join(_told(name if many else "", [value for _, value in line], written) for name, line in lines)
        return Chart(title, tuple(series), text, line_chart(frame, lines))

    def most(self, *series: Read) -> float:
        return max((read(point) for point in self.points for read in series), default=0.0)


def _told(name: str, values: Sequence[float], written: Callable[[float], str]) -> str:
    if not values:
        return f"{name} no figures".strip()
    mean = sum(values) / len(values)
    return f"{name} now {written(values[-1])}, mean {written(mean)}, highest {written(max(values))}".strip()


def _total(metrics: Mapping[str, Any], name: str) -> float:
    """0 for one that is not told."""
    value = metrics.get(name)
    return min(float(value), _MOST_BYTES) if isinstance(value, int | float) and value > 0 else 0.0


def _of(total: float) -> str:
    return f", of {_size(total)}" if total else ""


def _cells(point: MetricPoint) -> tuple[str, ...]:
    mean = point.mean
    return (
        *(_percent(mean.cpu_percent), _plain(mean.load1), _size(mean.memory_used), _size(mean.disk_used)),
        *(_speed(mean.rx_speed), _speed(mean.tx_speed)),
    )


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _plain(value: float) -> str:
    return f"{value:.2f}"


def _size(value: float) -> str:
    return size(int(value))


def _speed(value: float) -> str:
    return f"{_size(value)}/s"


def _cpu(point: MetricPoint) -> float:
    return point.mean.cpu_percent


def _load(point: MetricPoint) -> float:
    return point.mean.load1


def _memory(point: MetricPoint) -> float:
    return point.mean.memory_used


def _disk(point: MetricPoint) -> float:
    return point.mean.disk_used


def _received(point: MetricPoint) -> float:
    return point.mean.rx_speed


def _sent(point: MetricPoint) -> float:
    return point.mean.tx_speed
