"""Hardware: what the firmware says the machine is, ``/sys/class/dmi/id`` or ``model`` of the device tree.

The kernel lets everybody read the DMI texts but serial numbers and UUIDs, which are not wanted here. Firmware of
boards that were never given a name is full of texts that say so; they count as absent. A machine with neither source
(s390x, small virtual machines, a container with a hidden ``/sys``) has nothing to say, which is no gap.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES, Hardware

_DMI: Final = "sys/class/dmi/id"
_DEVICE_TREES: Final = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_PLACEHOLDERS: Final = frozenset({
    *("to be set by oem", "default string", "oem", "o.e.m"),
    *("system manufacturer", "system product name", "system version", "system name", "base board product name"),
    *("baseboard product name", "type2 - board product name1", "board name", "product name"),
    *("all series", "not specified", "not applicable", "not available", "not defined", "not present", "not set"),
    *("none", "(none)", "null", "n/a", "na", "unknown", "undefined", "invalid", "empty", "<bad index>"),
    *("<out of spec>", "bad index", "out of spec"),
})  # fmt: skip
_TO_BE_FILLED: Final = "to be filled by"  # goes on "O.E.M.", "OEM" or "O.E.M. by More String"
_FILLING: Final = re.compile(r"[xX.\-_*#?\s]+")  # "x.x", "xxxxxxxx", "-", "***"


def parse_name(text: str) -> str:
    """A text of the firmware, or "" when it only fills the place of one. One of a device tree ends with NUL."""
    name = clean_text(text, TEXT_BYTES)
    plain = name.lower().rstrip(".")
    if plain in _PLACEHOLDERS or plain.startswith(_TO_BE_FILLED) or _FILLING.fullmatch(name):
        return ""
    return name


def fingerprint(root: Path) -> Hashable:
    """The boot: a firmware is read, and updated, only then."""
    return read_text(root, "proc/sys/kernel/random/boot_id")


def read(root: Path) -> Hardware:
    """What there is; all of it may be empty. Raises nothing."""
    return Hardware(
        vendor=_dmi(root, "sys_vendor"),
        product=_dmi(root, "product_name") or _device_tree_model(root),
        board=_dmi(root, "board_name"),
        bios_vendor=_dmi(root, "bios_vendor"),
        bios_version=_dmi(root, "bios_version"),
        bios_date=_dmi(root, "bios_date"),
    )


def _dmi(root: Path, name: str) -> str:
    return parse_name(read_text(root, f"{_DMI}/{name}"))


def _device_tree_model(root: Path) -> str:
    return next((name for path in _DEVICE_TREES if (name := parse_name(read_text(root, path)))), "")
