"""Names of PCI devices, from the ``pci.ids`` that distributions install (https://pci-ids.ucw.cz).

A vendor is a line ``10de  NVIDIA Corporation``; its devices follow, a tab before each: ``\\t20f1  GA100 [A100 PCIe]``;
two tabs are subsystems. Other lists (``C 03  Display controller``) come after them.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import located
from lattice_agent.wire.host_inventory import TEXT_BYTES

_FILES: Final = ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids")
_SIZE_LIMIT: Final = 4_194_304  # bytes read of a file; it has 1.5 million
_LINE_LIMIT: Final = 4096
_ENTRY: Final = re.compile(r"(\t?)([0-9a-f]{4})\s+(\S.*)")

DeviceId = tuple[str, str]
"""Vendor and device, four lower-case hex digits each."""


def parse_names(lines: Iterable[str], wanted: frozenset[DeviceId]) -> dict[DeviceId, str]:
    """Names of the devices ``wanted``; reads no further than the last of them."""
    names: dict[DeviceId, str] = {}
    vendor = ""
    for line in lines:
        if len(names) == len(wanted):
            break
        if line[:1] in ("#", "\n", ""):  # a comment does not end the list of a vendor
            continue
        entry = _ENTRY.match(line)
        if not line.startswith("\t"):
            vendor = entry[2] if entry else ""
        elif entry and (key := (vendor, entry[2])) in wanted and (name := clean_text(entry[3], TEXT_BYTES)):
            names[key] = name
    return names


def read_names(root: Path, wanted: frozenset[DeviceId]) -> dict[DeviceId, str]:
    """Names of the devices ``wanted``, of the first file that has any of them; none when none is installed.

    The file is long and all but a few lines of it are not wanted, so it is read line by line.
    """
    for path in _FILES if wanted else ():
        try:
            if names := parse_names(_lines(located(root, path)), wanted):
                return names
        except (OSError, ValueError):
            continue
    return {}


def _lines(path: str) -> Iterator[str]:
    left = _SIZE_LIMIT
    with open(path, "rb", opener=_open_at_once) as file:
        while left > 0 and (line := file.readline(_LINE_LIMIT)):
            left -= len(line)
            yield line.decode("utf-8", "replace")


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)  # a FIFO in the way must not block us
