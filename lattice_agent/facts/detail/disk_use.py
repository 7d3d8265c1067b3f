"""Input and output of drives: ``/proc/diskstats`` (kernel documentation, admin-guide/iostats)."""

from collections.abc import Collection, Mapping
from typing import Final

from lattice_agent.facts.detail.counters import OPERATIONS_PER_S, DiskCounts, rate
from lattice_agent.facts.lexical import COUNTER_LIMIT, parse_count
from lattice_agent.facts.rates import FASTEST_LINK
from lattice_agent.wire.metrics_detail import MAX_DISKS, DiskUse

_SECTOR: Final = 512  # bytes, whatever the drive's own sectors are
_NAME, _READS, _READ_SECTORS, _WRITES, _WRITE_SECTORS, _BUSY_MS = 2, 3, 5, 7, 9, 12


def listed_devices(text: str) -> list[str]:
    """The names of all block devices in ``/proc/diskstats``, partitions included, in its order."""
    fields = (line.split(None, _NAME + 1) for line in text.splitlines())
    return [field[_NAME] for field in fields if len(field) > _NAME]


def parse_diskstats(text: str, names: Collection[str]) -> dict[str, DiskCounts]:
    """Counters of the named drives; partitions, whose requests the drive counts too, are not among the names."""
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) <= _BUSY_MS or fields[_NAME] not in names:
            continue
        wanted = (_READS, _READ_SECTORS, _WRITES, _WRITE_SECTORS, _BUSY_MS)
        counts = [count for column in wanted if (count := parse_count(fields[column])) is not None]
        if len(counts) == len(wanted):
            reads, read, writes, written, busy_ms = counts
            found[fields[_NAME]] = DiskCounts(reads, _bytes(read), writes, _bytes(written), busy_ms)
    return found


def _bytes(sectors: int) -> int:
    return min(sectors * _SECTOR, COUNTER_LIMIT)


def disk_uses(
    before: Mapping[str, DiskCounts], after: Mapping[str, DiskCounts], elapsed_s: float | None
) -> tuple[DiskUse, ...]:
    """One for each drive, by name. A drive that is new since ``before`` has no rates yet."""
    names = sorted(after)[:MAX_DISKS]
    return tuple(_use(name, before.get(name), after[name], elapsed_s) for name in names)


def _use(name: str, then: DiskCounts | None, now: DiskCounts, elapsed_s: float | None) -> DiskUse:
    if then is None or elapsed_s is None:
        return DiskUse(name=name)
    return DiskUse(
        name=name,
        read_rate=rate(then.read_bytes, now.read_bytes, elapsed_s, FASTEST_LINK),
        write_rate=rate(then.write_bytes, now.write_bytes, elapsed_s, FASTEST_LINK),
        reads_rate=rate(then.reads, now.reads, elapsed_s, OPERATIONS_PER_S),
        writes_rate=rate(then.writes, now.writes, elapsed_s, OPERATIONS_PER_S),
        busy=min(100.0, max(0, now.busy_ms - then.busy_ms) / (elapsed_s * 1000) * 100),
    )
