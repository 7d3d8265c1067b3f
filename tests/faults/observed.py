"""What an agent does during a fault: its heartbeats, its processor time, its memory, what it says."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.rigs.cutting_proxy import CuttingProxy
from tests.rigs.real_processes import LIMIT_S, RunningAgent, wait_until
from tests.rigs.troubled_wire import TroubledWire

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BUSY_MOST = 0.5
"""Share of one processor that an agent with the short periods of tests stays below; one that spins takes more."""
TICKS_S = 0.1
"""What may be counted of a few processes in no time: their processor time is told in ticks of 10 ms."""
GROWN_MOST = 16 * 1024
"""KiB by which agent and spawner together may be larger after a fault than before it."""


@dataclass(frozen=True)
class Seen:
    """From one moment to another."""

    seconds: float
    cpu_s: float
    grown_kib: int
    said: list[str]
    """Messages of level warning and above."""
    gap_s: float
    """The longest time without a heartbeat; 0 if they were not looked at."""

    def assert_calm(self, lines: int, times: int = 1) -> None:
        """It neither spun nor grew, and said each thing once (or so many ``times``): ``lines`` in all at most."""
        assert self.cpu_s < BUSY_MOST * self.seconds + TICKS_S, self
        assert self.grown_kib < GROWN_MOST, self
        assert max(Counter(self.said).values(), default=0) <= times, "\n".join(self.said)
        assert len(self.said) <= lines, "\n".join(self.said)

    def __str__(self) -> str:
        share = 100 * self.cpu_s / self.seconds
        return f"{self.seconds:.1f} s, CPU {share:.0f} %, {self.grown_kib:+d} KiB, {len(self.said)} lines"


class Watch:
    """Begins to look when it is made."""

    def __init__(self, agent: RunningAgent, wire: TroubledWire | CuttingProxy | None = None) -> None:
        self._agent = agent
        self._wire = wire
        self._began = time.monotonic()
        self._cpu_s = self._cpu()
        self._size_kib = self._size()
        self._lines = len(lines_of(agent))

    def until(self, condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Seen:
        """Waits, then tells what was seen since the beginning."""
        wait_until(condition, what, limit_s)
        now = time.monotonic()
        return Seen(
            now - self._began,
            self._cpu() - self._cpu_s,
            self._size() - self._size_kib,
            loud(lines_of(self._agent)[self._lines :]),
            self._longest_gap(now),
        )

    def beats(self, count: int, apart_s: float = LIMIT_S) -> Seen:
        """Until so many heartbeats more have reached the control plane, no two of them further apart."""
        wire = self._wire
        assert wire is not None
        for due in range(len(wire.beats) + 1, len(wire.beats) + count):
            wait_until(partial(self._beaten, due), "a heartbeat", apart_s)
        return self.until(partial(self._beaten, len(wire.beats) + 1), "the last heartbeat", apart_s)

    def _beaten(self, count: int) -> bool:
        return self._wire is not None and len(self._wire.beats) >= count

    def _longest_gap(self, now: float) -> float:
        if self._wire is None:
            return 0.0
        beats = [beat for beat in list(self._wire.beats) if self._began <= beat <= now]
        return max(later - earlier for earlier, later in pairwise([self._began, *beats, now]))

    def _processes(self) -> list[int]:
        return [self._agent.process.pid, self._agent.spawner]

    def _cpu(self) -> float:
        return sum(cpu_s(pid) for pid in self._processes())

    def _size(self) -> int:
        return sum(resident_kib(pid) for pid in self._processes())


def cpu_s(pid: int) -> float:
    """Processor time of a process; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def resident_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def lines_of(agent: RunningAgent) -> list[dict[str, Any]]:
    """What it logged; a line that is being written is left for the next look."""
    whole = agent.log_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def loud(lines: list[dict[str, Any]]) -> list[str]:
    return [line["message"] for line in lines if line["level"] not in ("debug", "info")]
