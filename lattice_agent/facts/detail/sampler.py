"""Two readings become ``metrics_detail``: the state that rates need, for one consumer."""

import os
from collections.abc import Collection
from pathlib import Path

from lattice_agent.facts.cpu import parse_cpu_times
from lattice_agent.facts.detail.counters import Counters, SwapCounts
from lattice_agent.facts.detail.cpu_use import cpu_use, parse_core_times
from lattice_agent.facts.detail.disk_use import disk_uses, listed_devices, parse_diskstats
from lattice_agent.facts.detail.interface_use import interface_uses
from lattice_agent.facts.detail.kernel_tables import kernel_tables
from lattice_agent.facts.detail.memory_use import memory_use, parse_swap_counts
from lattice_agent.facts.detail.own_cost import CostReader, OwnLoad
from lattice_agent.facts.detail.pressure import pressures
from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory import disks
from lattice_agent.facts.look import Look
from lattice_agent.facts.memory import parse_sizes
from lattice_agent.facts.rates import MIN_ELAPSED_S
from lattice_agent.facts.rooted import is_live
from lattice_agent.facts.traffic import AUTOMATIC, Selection, counted_traffic
from lattice_agent.wire.metrics_detail import AgentCost, MetricsDetail

_RECORDED_PAGE = 4096  # bytes; of a recorded host the true size is not known


class DetailSampler:
    """Keeps what the last reading counted. One sampler belongs to one consumer (see ``metrics.MetricsSampler``)."""

    def __init__(self, root: Path = Path("/"), selection: Selection = AUTOMATIC) -> None:
        self._selection = selection
        self._cost = CostReader()
        self._drives = DriveNames()
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if is_live(root) else _RECORDED_PAGE
        self._baseline: tuple[Counters, float] | None = None
        self._last = MetricsDetail()

    def sample(self, look: Look, now_monotonic: float, load: OwnLoad | None = None) -> MetricsDetail:
        """The message for this look; with the cost of this process if it says its ``load``.

        A look sooner than half a second after the last repeats the last message.
        """
        elapsed_s = None if self._baseline is None else now_monotonic - self._baseline[1]
        if elapsed_s is not None and elapsed_s < MIN_ELAPSED_S:
            return self._last
        before = Counters() if self._baseline is None else self._baseline[0]
        after = self._count(look)
        self._baseline = after, now_monotonic
        self._last = self._message(look, before, after, elapsed_s, self._agent_cost(now_monotonic, load))
        return self._last

    def _count(self, look: Look) -> Counters:
        stat, diskstats = look.text("proc/stat"), look.text("proc/diskstats")
        return Counters(
            cpu=parse_cpu_times(stat),
            cores=parse_core_times(stat),
            swap=self._swap_counts(look),
            disks=parse_diskstats(diskstats, self._drives.names(look.root, diskstats)),
            traffic=look.once(counted_traffic, look.root, look.text("proc/net/dev"), self._selection),
        )

    def _swap_counts(self, look: Look) -> SwapCounts | None:
        if not look.once(parse_sizes, look.text("proc/meminfo")).get("SwapTotal"):
            return SwapCounts(0, 0)  # without swap nothing is swapped, and a long file need not be read
        return parse_swap_counts(look.text("proc/vmstat"), self._page_bytes)

    def _message(
        self, look: Look, before: Counters, after: Counters, elapsed_s: float | None, agent: AgentCost | None
    ) -> MetricsDetail:
        return MetricsDetail(
            cpu=cpu_use(before, after) if elapsed_s is not None else None,
            memory=memory_use(look.once(parse_sizes, look.text("proc/meminfo")), before.swap, after.swap, elapsed_s),
            pressure=pressures(*(look.text(f"proc/pressure/{resource}") for resource in ("cpu", "memory", "io"))),
            disks=disk_uses(before.disks, after.disks, elapsed_s),
            interfaces=interface_uses(before.traffic, after.traffic, elapsed_s),
            kernel=kernel_tables(look),
            agent=agent,
        )

    def _agent_cost(self, now_monotonic: float, load: OwnLoad | None) -> AgentCost | None:
        return None if load is None else self._cost.read(now_monotonic, load)


class DriveNames:
    """Which block devices are drives, by the inventory's rule, asked again when a device has come or gone."""

    def __init__(self) -> None:
        self._listed: list[str] = []
        self._drives: frozenset[str] = frozenset()

    def names(self, root: Path, diskstats: str) -> Collection[str]:
        """The drives among the devices that ``/proc/diskstats`` lists; none where ``/sys/block`` is hidden."""
        listed = listed_devices(diskstats)
        if listed != self._listed:
            self._listed, self._drives = listed, _drives(root)
        return self._drives


def _drives(root: Path) -> frozenset[str]:
    try:
        return frozenset(disk.name for disk in disks.read(root))
    except FactsError:
        return frozenset()
