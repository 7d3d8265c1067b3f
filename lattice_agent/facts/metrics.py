"""``metrics`` of the heartbeat (protocol reference 4.2), with these faults of the Go agent mended: guest CPU time
counts once, and traffic is that of the host's own links (its section 11, point 29)."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from lattice_agent.facts.deadline import DeadlineReader, Missed
from lattice_agent.facts.disk import Disk, read_disk
from lattice_agent.facts.look import Look
from lattice_agent.facts.rates import MIN_ELAPSED_S, Rates, first_rates, rates_between
from lattice_agent.facts.reading import Reading, take_reading
from lattice_agent.facts.traffic import AUTOMATIC, Selection, total
from lattice_agent.wire.metrics import Metrics

DISK_DEADLINE_S: Final = 0.25
"""Time the root file system has to say its size; a healthy one takes some microseconds."""


class MetricsSampler:
    """Keeps what the last sample counted, so that the next one can give rates.

    One sampler belongs to one consumer: a second one with another rhythm does not disturb the first.
    """

    def __init__(self, root: Path = Path("/"), selection: Selection = AUTOMATIC) -> None:
        self._root = root
        self._selection = selection
        self._disk = DeadlineReader[Disk](DISK_DEADLINE_S)
        self._baseline: tuple[Reading, float] | None = None
        self._rates = Rates()
        self.disk_problem = ""
        """Why the last sample has no figures of the root file system; "" when it has."""

    def sample(self, now_wall: datetime, now_monotonic: float, look: Look | None = None) -> Metrics:
        """A sample of now. ``now_wall`` (aware) is the stamp, ``now_monotonic`` (seconds) measures the interval.

        ``look`` is given when other figures are taken from the same look. Synchronous, well under a millisecond, and
        never raises; a root file system that is stuck costs its own figures and, once, ``DISK_DEADLINE_S``.
        """
        reading = take_reading(look or Look(self._root), self._read_disk(), self._selection)
        self._advance(reading, now_monotonic)
        return to_metrics(reading, self._rates, now_wall)

    def _read_disk(self) -> Disk:
        found = self._disk.read({"disk": partial(read_disk, self._root)})["disk"]
        self.disk_problem = found.reason if isinstance(found, Missed) else ""
        return Disk() if isinstance(found, Missed) else found

    def _advance(self, reading: Reading, now_monotonic: float) -> None:
        if self._baseline is None:
            self._rates = first_rates(reading)
        else:
            before, then = self._baseline
            elapsed_s = now_monotonic - then
            if elapsed_s < MIN_ELAPSED_S:
                return  # the baseline stays, so that frequent callers still get a rate over a useful interval
            self._rates = rates_between(before, reading, elapsed_s, self._rates)
        self._baseline = (reading, now_monotonic)


def to_metrics(reading: Reading, rates: Rates, now_wall: datetime) -> Metrics:
    """The message for one reading and its rates (pure)."""
    traffic = total(reading.traffic)
    return Metrics(
        cpu_percent=rates.cpu_percent,
        load1=reading.load.one,
        load5=reading.load.five,
        load15=reading.load.fifteen,
        memory_used=reading.memory.used,
        memory_total=reading.memory.total,
        disk_used=reading.disk.used,
        disk_total=reading.disk.total,
        net_rx_bytes=traffic.rx,
        net_tx_bytes=traffic.tx,
        net_rx_speed=rates.rx_speed,
        net_tx_speed=rates.tx_speed,
        uptime_seconds=reading.uptime_s,
        collected_at=now_wall,
    )
