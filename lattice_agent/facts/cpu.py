"""CPU: what ``/proc/stat``, ``/proc/loadavg`` and ``/proc/cpuinfo`` say (protocol reference 4.1, 4.2).

Columns of the ``cpu`` line, in ticks: user nice system idle iowait irq softirq steal guest guest_nice. The kernel
has already added guest time to user, and guest_nice to nice (proc_stat(5)), so a total over all columns counts the
time of virtual machines twice. Ours is over the first eight.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text, parse_count, parse_decimal
from lattice_agent.facts.rooted import is_live

CORES_LIMIT: Final = 4096
MODEL_LIMIT: Final = 192
_COLUMNS: Final = 8
_IDLE: Final = slice(3, 5)  # idle and iowait
_MODEL_KEYS: Final = frozenset({"model name", "Hardware", "Processor"})


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Time of all CPUs since boot by column, each instant counted once. Units are those of the source (ticks)."""

    columns: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Mean number of runnable processes over 1, 5 and 15 minutes."""

    one: float = 0.0
    five: float = 0.0
    fifteen: float = 0.0


def parse_cpu_times(stat: str) -> CpuTimes | None:
    """The first line of ``/proc/stat``; ``None`` when it is not one of a kernel since 2.6 (four columns or more)."""
    name, *fields = stat.partition("\n")[0].split()[: _COLUMNS + 1] or [""]
    counts = [parse_count(field) for field in fields]
    if name != "cpu" or len(counts) < 4 or None in counts:
        return None
    known = [float(count) for count in counts if count is not None]
    return CpuTimes(tuple(known + [0.0] * (_COLUMNS - len(known))))


def busy_percent(before: CpuTimes, after: CpuTimes) -> float | None:
    """Share of the time between two readings that was neither idle nor iowait, 0..100; ``None`` if no time passed.

    A column that fell counts as unchanged: iowait may fall on a healthy kernel, all do after a container moved.
    """
    spent = [max(0.0, late - early) for early, late in zip(before.columns, after.columns, strict=True)]
    total = sum(spent)
    if total <= 0:
        return None
    return min(100.0, max(0.0, (total - sum(spent[_IDLE])) / total * 100))


def percent_from_load(load: Load, cores: int) -> float:
    """The estimate for a first reading, which has nothing to be compared with: load per core, 0..100."""
    return min(100.0, load.one / max(1, cores) * 100)


def parse_load(loadavg: str) -> Load:
    """The three means of ``/proc/loadavg``; zeros when one of them is broken."""
    means = [parse_decimal(field) for field in loadavg.split()[:3]]
    known = [mean for mean in means if mean is not None]
    return Load(*known) if len(known) == 3 else Load()


def parse_cpu_model(cpuinfo: str) -> str:
    """The value of the first ``model name``, ``Hardware`` or ``Processor`` of ``/proc/cpuinfo`` that has one."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in _MODEL_KEYS and (model := clean_text(value, MODEL_LIMIT)):
            return model
    return ""


def count_cpus(stat: str) -> int:
    """CPUs that ``/proc/stat`` lists, 0 when it lists none."""
    names = (line.partition(" ")[0] for line in stat.splitlines())
    return min(CORES_LIMIT, sum(1 for name in names if name.startswith("cpu") and name[3:].isdigit()))


def usable_cpus(root: Path, stat: str) -> int:
    """CPUs this process may run on; of a recorded tree, those that its ``/proc/stat`` lists."""
    if not is_live(root):
        return count_cpus(stat)
    try:
        return min(CORES_LIMIT, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):  # not Linux; or more CPUs than the call's mask has bits
        return min(CORES_LIMIT, os.cpu_count() or 0)
