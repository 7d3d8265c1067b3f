"""The processors: ``/proc/cpuinfo`` and ``/sys/devices/system/cpu``."""

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Final

from lattice_agent.facts.cpu import count_cpus
from lattice_agent.facts.cpu_identity import parse_flags, parse_model, parse_vendor
from lattice_agent.facts.cpu_topology import (
    Topology,
    parse_cpu_list,
    parse_cpuinfo_topology,
    read_max_khz,
    read_online,
    read_topology,
)
from lattice_agent.facts.rooted import read_text, required_text
from lattice_agent.wire.host_inventory import Cpu

_CPUINFO: Final = "proc/cpuinfo"
_HEAD: Final = 65_536
"""Bytes of ``/proc/cpuinfo`` that name the processor. The kernel makes the text as it is read, and for each CPU some
kernels interrupt that CPU; a section has some 2 KiB, and small arm boards name themselves below the last."""

_WHOLE: Final = 4 * 2**20  # bytes, of some two thousand CPUs


def fingerprint(root: Path) -> Hashable:
    """The boot and the online CPUs: processors change with the machine, which has to stop for it, or are plugged in."""
    return read_text(root, "proc/sys/kernel/random/boot_id"), read_online(root)


def read(root: Path) -> Cpu:
    """FactsError when there is no ``/proc/cpuinfo``."""
    cpuinfo = required_text(root, _CPUINFO, _HEAD)
    topology = _read_topology(root)
    khz = read_max_khz(root, topology.first_cpus)
    return Cpu(
        model=parse_model(cpuinfo),
        vendor=parse_vendor(cpuinfo),
        sockets=topology.sockets,
        cores=topology.cores,
        threads=topology.threads,
        max_mhz=None if khz is None else round(khz / 1000) or None,
        flags=parse_flags(cpuinfo),
    )


def _read_topology(root: Path) -> Topology:
    """Of sysfs; what it hides (it is often masked in containers) of the text files, as far as they say it."""
    seen = read_topology(root, parse_cpu_list(read_online(root)))
    if seen.sockets and seen.cores:
        return seen
    told = parse_cpuinfo_topology(read_text(root, _CPUINFO, _WHOLE))
    threads = seen.threads or told.threads or count_cpus(read_text(root, "proc/stat")) or None
    return replace(seen, sockets=seen.sockets or told.sockets, cores=seen.cores or told.cores, threads=threads)
