"""Size of memory and swap: ``/proc/meminfo``. How much of it is used is a metric (``facts.memory``)."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.memory import parse_memory
from lattice_agent.facts.rooted import read_text, required_text
from lattice_agent.wire.host_inventory import MemorySize

_SOURCE: Final = "proc/meminfo"
_HEAD: Final = 1024  # bytes; both lines are among the first 600
_SIZES: Final = re.compile(r"^(?:MemTotal|SwapTotal):.*", re.MULTILINE)
_NO_SWAP: Final = re.compile(r"^SwapTotal:[ \t]*0+([ \t]|$)", re.MULTILINE)


def fingerprint(root: Path) -> Hashable:
    """The two lines: memory is hot-plugged, swap switched on, and lxcfs follows the container's limit."""
    return tuple(_SIZES.findall(read_text(root, _SOURCE, _HEAD)))


def read(root: Path) -> MemorySize:
    """FactsError when there is no ``/proc/meminfo``."""
    return parse_memory_size(required_text(root, _SOURCE))


def parse_memory_size(meminfo: str) -> MemorySize:
    """Bytes. A line that is missing or broken is not known; a swap of 0 is a host without swap."""
    memory = parse_memory(meminfo)
    no_swap = 0 if _NO_SWAP.search(meminfo) else None
    return MemorySize(total_bytes=memory.total or None, swap_total_bytes=memory.swap_total or no_swap)
