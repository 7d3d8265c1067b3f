"""What the agent itself costs: getrusage(2), ``/proc/self``, and what its own services say of themselves."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import parse_count
from lattice_agent.facts.rooted import read_text
from lattice_agent.wire.metrics_detail import AgentCost

PSS_INTERVAL_S: Final = 60.0
"""The kernel walks all of the agent's page tables to answer: a millisecond, too much for every heartbeat."""

_LIVE: Final = Path("/")


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What only the agent's services know. ``loop_lag_s``: most since it was asked last; ``None``: not known."""

    loop_lag_s: float | None = None
    tasks_running: int | None = None
    results_waiting: int | None = None


class CostReader:
    """Reads the cost of this process, its memory at most once in ``PSS_INTERVAL_S``."""

    def __init__(self) -> None:
        self._pss_bytes: int | None = None
        self._pss_due = float("-inf")

    def read(self, now_monotonic: float, load: OwnLoad) -> AgentCost:
        """The group as of now; never raises."""
        if now_monotonic >= self._pss_due:
            self._pss_due = now_monotonic + PSS_INTERVAL_S
            self._pss_bytes = parse_pss(read_text(_LIVE, "proc/self/smaps_rollup"))
        used = resource.getrusage(resource.RUSAGE_SELF)
        return AgentCost(
            cpu_seconds=round(used.ru_utime + used.ru_stime, 3),
            pss_bytes=self._pss_bytes,
            open_files=_open_files(),
            loop_lag_s=load.loop_lag_s,
            tasks_running=load.tasks_running,
            results_waiting=load.results_waiting,
        )


def parse_pss(smaps_rollup: str) -> int | None:
    """``Pss:   12345 kB`` in bytes."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss:"):
            size = parse_count((line[4:].split() or [""])[0], 2**50)
            return None if size is None else size * 1024
    return None


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # less the one that lists them
    except OSError:
        return None
