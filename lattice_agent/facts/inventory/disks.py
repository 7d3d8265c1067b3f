"""Disks: the drives of ``/sys/block``, which lsblk(8) calls TYPE=disk.

Several paths to one drive count once where the kernel knows that they are: a NVMe namespace with native multipath, and
the SCSI disks below one device-mapper multipath map, of which the first by name stands for all. Without multipathd
each path is a disk of its own, as it is for everything else on that host.
"""

import os
from collections.abc import Hashable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.drive_identity import read_model, read_serial
from lattice_agent.facts.inventory.drive_paths import is_drive, parse_transport
from lattice_agent.facts.inventory.udev_data import read_properties
from lattice_agent.facts.lexical import COUNTER_LIMIT, clean_text, parse_count
from lattice_agent.facts.rooted import link_target, located, names_in, read_text
from lattice_agent.wire.host_inventory import MAX_DISKS, TEXT_BYTES, Disk

_BLOCK: Final = "sys/block"
_SECTOR: Final = 512  # the unit of ``size``, whatever the drive's own sectors are
_OPTICAL: Final = "5"  # SCSI's peripheral device type
_FLAGS: Final = {"0": False, "1": True}


def parse_size(text: str) -> int:
    """Bytes out of ``size``; 0 for a drive without medium, and for what is no number."""
    return min((parse_count(text.strip()) or 0) * _SECTOR, COUNTER_LIMIT)


def parse_flag(text: str) -> bool | None:
    """``0`` or ``1``, or ``None``."""
    return _FLAGS.get(text.strip())


def fingerprint(root: Path) -> Hashable:
    """The devices there are, and their sizes: a medium put into a reader changes ``/proc/partitions``."""
    return read_text(root, "proc/partitions"), tuple(names_in(root, _BLOCK))


def read(root: Path) -> tuple[Disk, ...]:
    """The drives in the order of their names, the first ``MAX_DISKS``; FactsError without ``/sys/block``."""
    _require_directory(root, _BLOCK)
    return tuple(islice(_drives(root), MAX_DISKS))


def _require_directory(root: Path, path: str) -> None:
    try:
        os.scandir(located(root, path)).close()
    except OSError as error:
        raise FactsError(f"/{path}: {error.strerror or error}") from None


def _drives(root: Path) -> Iterator[Disk]:
    maps: set[str] = set()
    for name in names_in(root, _BLOCK):
        place = f"{_BLOCK}/{name}"
        path = link_target(root, place)
        if not is_drive(name, path) or (size := _size_of_drive(root, place)) == 0:
            continue
        multipath = _multipath_map(root, place)
        if multipath in maps:
            continue
        if multipath:
            maps.add(multipath)
        yield _disk(root, name, path, size)


def _size_of_drive(root: Path, place: str) -> int:
    """Bytes; 0 for what turns out to be no drive at a closer look."""
    if parse_flag(read_text(root, f"{place}/hidden")) or read_text(root, f"{place}/device/type").strip() == _OPTICAL:
        return 0
    return parse_size(read_text(root, f"{place}/size"))


def _multipath_map(root: Path, place: str) -> str:
    """The device-mapper multipath map that a disk is a path of, or ""."""
    for holder in names_in(root, f"{place}/holders"):
        if read_text(root, f"{_BLOCK}/{holder}/dm/uuid").startswith("mpath-"):
            return holder
    return ""


def _disk(root: Path, name: str, path: str, size: int) -> Disk:
    place = f"{_BLOCK}/{name}"
    udev = read_properties(root, read_text(root, f"{place}/dev").strip())
    return Disk(
        name=clean_text(name.replace("!", "/"), TEXT_BYTES),  # sysfs writes cciss/c0d0 as cciss!c0d0
        model=read_model(root, place, udev),
        size_bytes=size,
        rotational=parse_flag(read_text(root, f"{place}/queue/rotational")),
        # A recorded tree, and a kernel before its links, may have a folder here; then the device's own link may tell.
        transport=parse_transport(path or link_target(root, f"{place}/device")),
        serial=read_serial(root, place, udev),
    )
