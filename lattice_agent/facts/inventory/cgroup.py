"""What our control group may use: memory, CPU time and tasks, by the least limit of it and the groups above it.

Only what is mounted here is seen: in a container the groups of the host stay hidden, and their limits with them. Of
memory version 1 gives away the least limit of those above, too (``hierarchical_memory_limit``).
"""

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from lattice_agent.facts.cgroup_place import CONTROLLERS, Place, find_place, parse_cgroup_mounts, parse_membership
from lattice_agent.facts.cpu import count_cpus, usable_cpus
from lattice_agent.facts.cpu_topology import parse_cpu_list
from lattice_agent.facts.inventory.memory import parse_memory_size
from lattice_agent.facts.lexical import parse_count
from lattice_agent.facts.rooted import is_live, read_text
from lattice_agent.wire.host_inventory import CgroupLimits

_NO_LIMIT: Final = 2**62
"""Version 1 has no word for "no limit": it shows the largest number there is, rounded down to pages of up to 64 KiB."""

_SHORT: Final = 4096  # bytes; a limit is one line
_FIRST_LINES: Final = 256  # bytes; MemTotal is the first
_PERIOD_US: Final = "100000"  # the kernel's own, where none is written
_ALLOWED: Final = "Cpus_allowed_list:"
_HIERARCHICAL: Final = "hierarchical_memory_limit "

Number = TypeVar("Number", int, float)


def fingerprint(root: Path) -> Hashable:
    """The limits themselves: they change at any time, and no file tells that they did."""
    return read(root)


def read(root: Path) -> CgroupLimits:
    """Never raises: without a control group the whole machine is what can be used."""
    places = read_places(root)
    memory = _least(_memory_limits(root, places.get("memory")))
    quota = _least(_cpu_quotas(root, places.get("cpu")))
    size = parse_memory_size(read_text(root, "proc/meminfo", _FIRST_LINES)).total_bytes
    return CgroupLimits(
        version=min((place.version for place in places.values()), default=None),
        memory_limit_bytes=memory,
        cpu_quota_cores=quota,
        pids_limit=_least(_pids_limits(root, places.get("pids"))),
        effective_cpus=_least([read_allowed_cpus(root), quota]),
        effective_memory_bytes=_least([size, memory]),
    )


def read_places(root: Path) -> dict[str, Place]:
    """Where each controller's limits are; those that no mounted hierarchy has are left out."""
    paths = parse_membership(read_text(root, "proc/self/cgroup"))
    mounts = parse_cgroup_mounts(read_text(root, "proc/self/mountinfo"))
    found = {name: find_place(name, paths, mounts) for name in CONTROLLERS}
    return {name: place for name, place in found.items() if place is not None}


def _memory_limits(root: Path, place: Place | None) -> list[int | None]:
    file = "memory.max" if place and place.version == 2 else "memory.limit_in_bytes"
    limits = _limits(root, place, file, parse_limit)
    if place and place.version == 1 and place.groups:
        limits.append(parse_hierarchical_limit(read_text(root, f"{place.groups[0]}/memory.stat")))
    return limits


def _pids_limits(root: Path, place: Place | None) -> list[int | None]:
    return _limits(root, place, "pids.max", parse_limit)


def _cpu_quotas(root: Path, place: Place | None) -> list[float | None]:
    if place and place.version == 1:
        return [_read_cfs_quota(root, group) for group in place.groups]
    return _limits(root, place, "cpu.max", parse_cpu_max)


def _read_cfs_quota(root: Path, group: str) -> float | None:
    quota, period = (read_text(root, f"{group}/cpu.cfs_{name}_us", _SHORT) for name in ("quota", "period"))
    return parse_cpu_max(f"{quota} {period}")


def _limits(root: Path, place: Place | None, file: str, parse: Callable[[str], Number | None]) -> list[Number | None]:
    groups = place.groups if place else ()
    return [parse(read_text(root, f"{group}/{file}", _SHORT)) for group in groups]


def parse_limit(text: str) -> int | None:
    """A limit in bytes or tasks; ``None`` for none, which is ``max``, -1 or a number beyond any machine.

    >>> parse_limit("max\\n"), parse_limit("1048576\\n"), parse_limit("9223372036854771712\\n")
    (None, 1048576, None)
    """
    return parse_count(text.strip(), _NO_LIMIT - 1)


def parse_cpu_max(text: str) -> float | None:
    """CPUs' worth of time out of ``quota period`` (us), the period being optional; ``None`` for no quota.

    >>> parse_cpu_max("150000 100000"), parse_cpu_max("max 100000"), parse_cpu_max("-1 100000")
    (1.5, None, None)
    """
    fields = [parse_count(field) for field in [*text.split(), _PERIOD_US][:2]]
    quota, period = fields if len(fields) == 2 else (None, None)
    return quota / period if quota and period else None


def parse_hierarchical_limit(stat: str) -> int | None:
    """Of version 1's ``memory.stat``, which counts the groups above ours even where they are hidden; bytes."""
    lines = (line for line in stat.splitlines() if line.startswith(_HIERARCHICAL))
    return parse_limit(next(lines, "").removeprefix(_HIERARCHICAL))


def read_allowed_cpus(root: Path) -> float | None:
    """CPUs we may run on; of a recorded host those its recorder might, as far as they were online."""
    if is_live(root):
        return float(usable_cpus(root, "")) or None
    online = count_cpus(read_text(root, "proc/stat")) or None
    allowed = count_allowed_cpus(read_text(root, "proc/self/status")) or None  # counts CPUs that may yet be plugged in
    least = _least([online, allowed])
    return None if least is None else float(least)


def count_allowed_cpus(status: str) -> int:
    """CPUs in ``Cpus_allowed_list`` of ``/proc/self/status``, 0 when it is not there."""
    lines = (line for line in status.splitlines() if line.startswith(_ALLOWED))
    return len(parse_cpu_list(next(lines, "").removeprefix(_ALLOWED)))


def _least(values: Iterable[Number | None]) -> Number | None:
    return min((value for value in values if value is not None), default=None)
