"""One look at everything the metrics need, before any arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lattice_agent.facts.cpu import CpuTimes, Load, parse_cpu_times, parse_load, usable_cpus
from lattice_agent.facts.disk import Disk
from lattice_agent.facts.look import Look
from lattice_agent.facts.memory import Memory, memory_of, parse_sizes
from lattice_agent.facts.rooted import exists, is_live
from lattice_agent.facts.traffic import AUTOMATIC, Selection, Traffic, counted_traffic
from lattice_agent.facts.uptime import parse_uptime


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters and levels at one moment. ``traffic`` has the host's own links only; ``cpu`` is ``None`` if unknown."""

    cpu: CpuTimes | None = None
    cores: int = 0
    load: Load = field(default_factory=Load)
    memory: Memory = field(default_factory=Memory)
    disk: Disk = field(default_factory=Disk)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    uptime_s: int = 0


def take_reading(look: Look, disk: Disk, selection: Selection = AUTOMATIC) -> Reading:
    """A reading from ``/proc`` and ``/sys``; through psutil on a live system that has no ``/proc``.

    ``disk`` was asked before, under a deadline; everything here answers from the kernel's memory.
    """
    if needs_portable(look.root):
        from lattice_agent.facts.portable import portable_reading

        return portable_reading(disk, selection)
    stat = look.text("proc/stat")
    return Reading(
        cpu=parse_cpu_times(stat),
        cores=usable_cpus(look.root, stat),
        load=parse_load(look.text("proc/loadavg")),
        memory=memory_of(look.once(parse_sizes, look.text("proc/meminfo"))),
        disk=disk,
        traffic=look.once(counted_traffic, look.root, look.text("proc/net/dev"), selection),
        uptime_s=parse_uptime(look.text("proc/uptime")),
    )


def needs_portable(root: Path) -> bool:
    """Whether this is a live system without Linux's ``/proc`` (macOS, BSD), where psutil has to be asked."""
    return is_live(root) and not exists(root, "proc/stat")
