"""The bit by which SMBIOS says that it describes a virtual machine, whatever names stand in it.

It is the word of last resort: only root may read it, and not every hypervisor sets it. Where processors have no flag
for it (arm) there is nothing else for a hypervisor with a name of its own.
"""

import os
from pathlib import Path
from typing import Final

BIOS_ENTRY: Final = "sys/firmware/dmi/entries/0-0/raw"  # structure of type 0, BIOS information
_LENGTH, _EXTENSION_2 = 1, 19  # offsets of its length and of the second extension byte of characteristics
_BYTES: Final = 20
_VIRTUAL_MACHINE_BIT: Final = 1 << 4


def describes_virtual_machine(root: Path) -> bool:
    """Whether the bit is set; not where the entry is missing, closed to us, or of a version without it."""
    return parse_bios_entry(_read(root))


def parse_bios_entry(entry: bytes) -> bool:
    """The bit in the raw bytes of the structure (SMBIOS 2.4 and later)."""
    if len(entry) < _BYTES or entry[_LENGTH] < _BYTES:
        return False
    return bool(entry[_EXTENSION_2] & _VIRTUAL_MACHINE_BIT)


def _read(root: Path) -> bytes:
    """As ``rooted.read_text``, but bytes: text that is decoded has lost its offsets."""
    try:
        fd = os.open(f"{root}/{BIOS_ENTRY}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
