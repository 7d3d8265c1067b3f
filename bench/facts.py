"""What facts and metrics cost: CPU of one warm collection beside psutil's calls for the same data, and beside facter.

    python bench/facts.py [--json] [--rounds 50] [--peers psutil,facter]

CPU is user and system time of this process with all its threads (of facter: of the child), so that waiting for another
core's work or for the disk does not count. Each figure is the median over rounds; a round is ten calls of ours, and
then of ten of psutil's. Warm: everything was collected before. Memory is the PSS that importing
the facts package adds to an interpreter that already has what the agent needs anyway (trio, httpx, pydantic).
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rig import emit, machine

from lattice_agent.facts.detail.own_cost import OwnLoad
from lattice_agent.facts.detail.sampler import DetailSampler
from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.inventory.collector import InventoryCollector
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.facts.look import Look
from lattice_agent.facts.metrics import MetricsSampler

ROOT = Path("/")
CALLS = 10
FACTER_RUNS = 5
IMPORTS = """
import importlib, pkgutil, sys
import trio, httpx, lattice_agent.wire.base, lattice_agent.wire.facts
def pss():
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:"))
before = pss()
import lattice_agent.facts
for module in pkgutil.walk_packages(lattice_agent.facts.__path__, "lattice_agent.facts."):
    if not module.name.endswith((".portable", ".document", ".resolver")):
        importlib.import_module(module.name)
print(pss() - before)
"""
"""The modules that are left out are for other systems, for the documentation, and need httpx."""


class Ours:
    """One consumer of everything."""

    def __init__(self) -> None:
        self.inventory = InventoryCollector(inventory_families())
        self.metrics = MetricsSampler()
        self.detail = DetailSampler()
        self.clock = 0.0

    def base_facts(self) -> None:
        collect_host_facts(Look(ROOT), datetime.now(UTC))

    def full_facts(self) -> None:
        self.base_facts()
        self.inventory.collect(datetime.now(UTC))

    def cold_facts(self) -> None:
        self.base_facts()
        InventoryCollector(inventory_families()).collect(datetime.now(UTC))

    def base_metrics(self) -> None:
        self.clock += 1.0  # every sample counts rates
        self.metrics.sample(datetime.now(UTC), self.clock)

    def full_metrics(self) -> None:
        self.clock += 1.0
        look = Look(ROOT)
        self.metrics.sample(datetime.now(UTC), self.clock, look)
        self.detail.sample(look, self.clock, OwnLoad())


def psutil_metrics() -> None:
    """What ``metrics`` needs."""
    psutil.cpu_percent()
    psutil.getloadavg()
    psutil.virtual_memory()
    psutil.disk_usage("/")
    psutil.net_io_counters(pernic=True)
    psutil.boot_time()


def psutil_full_metrics() -> None:
    """What of ``metrics_detail`` psutil has; it has no pressure, no file handles and no count of threads."""
    psutil_metrics()
    psutil.cpu_percent(percpu=True)
    psutil.cpu_times_percent()
    psutil.swap_memory()
    psutil.disk_io_counters(perdisk=True)
    psutil.pids()
    own = psutil.Process()
    own.cpu_times()
    own.num_fds()


def psutil_facts() -> None:
    """What of facts and inventory psutil has: about a third."""
    psutil.cpu_count()
    psutil.cpu_count(logical=False)
    psutil.cpu_freq()
    psutil.virtual_memory()
    psutil.swap_memory()
    psutil.boot_time()
    for partition in psutil.disk_partitions():
        psutil.disk_usage(partition.mountpoint)
    psutil.net_if_addrs()
    psutil.net_if_stats()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--peers", default="psutil,facter")
    options = parser.parse_args()
    ours = Ours()
    pairs: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "host_facts_base": (ours.base_facts, psutil_facts),
        "host_facts_full": (ours.full_facts, psutil_facts),
        "metrics_base": (ours.base_metrics, psutil_metrics),
        "metrics_full": (ours.full_metrics, psutil_full_metrics),
    }
    figures: dict[str, Any] = {"machine": machine(), "import_kib": import_kib()}
    lines = [
        f"machine: {figures['machine']}",
        f"importing the facts package adds {figures['import_kib'] / 1024:.1f} MiB (PSS)",
    ]
    for name, (mine, theirs) in pairs.items():
        one, other = compared(mine, theirs, options.rounds)
        figures |= {f"{name}_cpu_ms": one, f"{name}_psutil_cpu_ms": other, f"{name}_ratio_psutil": one / other}
        lines.append(f"{name}: {one:.3f} ms of CPU, psutil {other:.3f} ms, ratio {one / other:.2f}")
    cold = statistics.median(cpu_ms(ours.cold_facts) for _ in range(20))
    figures["host_facts_cold_cpu_ms"] = cold
    lines.append(f"host_facts_cold (nothing known before): {cold:.3f} ms of CPU")
    if "facter" in options.peers.split(","):
        lines.append(beside_facter(figures))
    emit(options.json, figures, lines)


def compared(mine: Callable[[], None], theirs: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Medians in milliseconds of CPU for one call."""
    for call in (mine, theirs):
        call()
    taken = [(cpu_ms(mine, CALLS), cpu_ms(theirs, CALLS)) for _ in range(rounds)]
    return statistics.median(one for one, _ in taken), statistics.median(other for _, other in taken)


def cpu_ms(call: Callable[[], None], calls: int = 1) -> float:
    before = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - before) * 1000 / calls


def beside_facter(figures: dict[str, Any]) -> str:
    """Wall clock and CPU of ``facter --json``; its facts are about the full ones of ours."""
    program = shutil.which("facter")
    if program is None:
        return "facter: not installed (Debian package facter)"
    walls, cpus, codes = [], [], set()
    for _ in range(FACTER_RUNS):
        before, begun = children_cpu_s(), time.perf_counter()
        codes.add(subprocess.run([program, "--json"], capture_output=True, check=False, env=os.environ).returncode)
        walls.append((time.perf_counter() - begun) * 1000)
        cpus.append((children_cpu_s() - before) * 1000)
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    figures |= {"facter_wall_ms": wall, "facter_cpu_ms": cpu, "facter_exit_codes": sorted(codes)}
    ratio = figures["host_facts_full_cpu_ms"] / cpu
    figures["host_facts_full_ratio_facter"] = ratio
    return (
        f"facter: {cpu:.0f} ms of CPU, {wall:.0f} ms in all, exit {sorted(codes)}; ratio of host_facts_full {ratio:.4f}"
    )


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def import_kib() -> int:
    runs = [
        subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True, text=True) for _ in range(5)
    ]
    return int(statistics.median(int(run.stdout) for run in runs))


if __name__ == "__main__":
    main()
