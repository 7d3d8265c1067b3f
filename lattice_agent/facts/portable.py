"""The base fields on systems without Linux's ``/proc``, through psutil. Imported only there."""

import os
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

import psutil  # type: ignore[import-untyped]  # publishes no type information

from lattice_agent.facts.cpu import CpuTimes, Load
from lattice_agent.facts.disk import Disk
from lattice_agent.facts.memory import Memory
from lattice_agent.facts.reading import Reading
from lattice_agent.facts.traffic import AUTOMATIC, Link, Selection, Traffic, counted_links
from lattice_agent.facts.uptime import boot_time_at

T = TypeVar("T")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def portable_reading(disk: Disk, selection: Selection = AUTOMATIC) -> Reading:
    """What psutil knows of this machine; a figure that the system does not have stays empty."""
    return Reading(
        cpu=_attempt(_cpu_times, None),
        cores=os.cpu_count() or 0,
        load=_attempt(lambda: Load(*os.getloadavg()), Load()),
        memory=portable_memory(),
        disk=disk,
        traffic=_attempt(partial(_traffic, selection), {}),
        uptime_s=_attempt(lambda: max(0, int(time.time() - psutil.boot_time())), 0),
    )


def portable_memory() -> Memory:
    """Memory and swap."""
    return _attempt(_memory, Memory())


def portable_boot_time() -> datetime | None:
    """The system's own figure of its boot, to the second."""
    return _attempt(lambda: boot_time_at(psutil.boot_time()), None)


def _attempt(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except (psutil.Error, OSError, NotImplementedError, AttributeError, RuntimeError, ValueError):
        return default  # best effort (protocol reference 4.1): a system that lacks a figure leaves it empty


def _cpu_times() -> CpuTimes:
    times = psutil.cpu_times()
    return CpuTimes(tuple(float(getattr(times, column, 0.0)) for column in _COLUMNS))


def _memory() -> Memory:
    memory = psutil.virtual_memory()
    return Memory(memory.total, memory.available, psutil.swap_memory().total)


def _traffic(selection: Selection) -> dict[str, Traffic]:
    counters = psutil.net_io_counters(pernic=True)
    counted = counted_links(map(Link, counters), selection)
    return {name: Traffic(one.bytes_recv, one.bytes_sent) for name, one in counters.items() if name in counted}
