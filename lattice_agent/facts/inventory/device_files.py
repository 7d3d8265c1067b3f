"""Names, numbers and UUIDs of block devices: ``/dev``, ``/sys/dev/block``, ``/sys/class/block`` and udev's database.

``/dev/mapper/vg-root`` is a link to ``../dm-0``, as those in ``/dev/disk/by-uuid`` are; the last is the kernel's name.
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.udev_data import read_properties
from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import link_target, names_in, read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES

BY_UUID: Final = "dev/disk/by-uuid"
_ROOT: Final = "/dev/root"


def device_of(root: Path, source: str, number: str) -> str:
    """The device that is mounted. A kernel that mounted its root by itself calls it ``/dev/root``, which is no file."""
    if source != _ROOT:
        return source
    name = link_target(root, f"sys/dev/block/{number}").rpartition("/")[2]
    return f"/dev/{name.replace('!', '/')}" if name else source


def read_uuids(root: Path) -> dict[str, str]:
    """UUIDs by device (``dev/sda1``), out of ``/dev/disk/by-uuid``."""
    return {_file_of(root, f"/{BY_UUID}/{name}"): name for name in names_in(root, BY_UUID)}


def uuid_of(root: Path, device: str, number: str, by_uuid: Mapping[str, str]) -> str:
    """The UUID of the file system on ``device``, or "". ``number`` is ``major:minor`` of its super block.

    Where that is no device's (btrfs has 0 and a minor of its own), it is the number of the device that counts.
    """
    if not device.startswith("/dev/"):
        return ""
    file = _file_of(root, device)
    if number.startswith("0:"):
        name = file.removeprefix("dev/").replace("/", "!")
        number = read_text(root, f"sys/class/block/{name}/dev").strip()
    uuid = read_properties(root, number).get("ID_FS_UUID") or by_uuid.get(file, "")
    return clean_text(uuid, TEXT_BYTES)


def _file_of(root: Path, device: str) -> str:
    """``/dev/mapper/x`` to ``dev/dm-0``. The links are one step long, and their text is all that is looked at."""
    target = link_target(root, device.lstrip("/"))
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(device), target or device)).lstrip("/")
