"""Memory and swap of the host: ``/proc/meminfo`` (protocol reference 4.1, 4.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BYTES_LIMIT: Final = 16 * 2**50
"""16 PiB: what the server keeps at most."""

_SIZE: Final = re.compile(r"^([^:\n]+):[ \t]*([0-9]{1,20})(?=[ \t\n]|\Z)", re.MULTILINE)
_RECLAIMABLE: Final = ("MemFree", "Buffers", "Cached")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``available`` is what a new process could have without swapping."""

    total: int = 0
    available: int = 0
    swap_total: int = 0

    @property
    def used(self) -> int:
        """Total less available; 0 when the source contradicts itself."""
        return max(0, self.total - self.available)


def parse_memory(meminfo: str) -> Memory:
    """The values of ``/proc/meminfo``; a missing or broken line counts as 0."""
    return memory_of(parse_sizes(meminfo))


def memory_of(sizes: Mapping[str, int]) -> Memory:
    """The values out of all sizes."""
    total = sizes.get("MemTotal", 0)
    # Kernels before 3.14 have no MemAvailable; this sum is what it was modelled on.
    available = sizes.get("MemAvailable", sum(sizes.get(name, 0) for name in _RECLAIMABLE))
    return Memory(total, min(available, total), sizes.get("SwapTotal", 0))


def parse_sizes(meminfo: str) -> dict[str, int]:
    """Every size by its name, in bytes (KiB there); lines without one are left out."""
    kib = ((name, int(size)) for name, size in _SIZE.findall(meminfo))
    return {name: size * 1024 for name, size in kib if size <= BYTES_LIMIT // 1024}
