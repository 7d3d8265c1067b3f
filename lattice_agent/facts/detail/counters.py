"""What is counted of a host, before any arithmetic, and how two counts become a rate (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lattice_agent.facts.cpu import CpuTimes
from lattice_agent.facts.traffic import Traffic

OPERATIONS_PER_S = 1e9
"""No disk and no link makes more requests or packets; a greater step is a driver's fault."""


@dataclass(frozen=True, slots=True)
class DiskCounts:
    """Since boot: requests, bytes, and milliseconds with a request on the way."""

    reads: int
    read_bytes: int
    writes: int
    write_bytes: int
    busy_ms: int


@dataclass(frozen=True, slots=True)
class SwapCounts:
    """Bytes since boot that were read back from swap, and written to it."""

    read: int
    written: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Everything that only grows. A source that could not be read is empty or ``None``."""

    cpu: CpuTimes | None = None
    cores: Mapping[int, CpuTimes] = field(default_factory=dict)
    swap: SwapCounts | None = None
    disks: Mapping[str, DiskCounts] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


def rate(before: int | None, after: int | None, elapsed_s: float | None, fastest: float) -> float | None:
    """Growth in a second; 0 for a counter that fell, or that grew faster than ``fastest``, which no device can.

    ``None`` when a counter, or the time between, is not known.
    """
    if before is None or after is None or elapsed_s is None:
        return None
    step = after - before
    return step / elapsed_s if 0 <= step <= fastest * elapsed_s else 0.0
