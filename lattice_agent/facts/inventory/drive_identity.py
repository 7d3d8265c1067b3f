"""Which drive a block device is: model and serial number.

udev comes first where it runs, because it has asked the drive itself: sysfs cuts the model of a SATA disk to the 16
characters that SCSI has for it, and knows no serial number of most USB disks. lsblk(8) does the same.
"""

from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.udev_data import unescape
from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES

_UDEV_SERIALS: Final = ("SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL", "ID_SERIAL_SHORT")
_MODELS: Final = ("device/model", "device/name")  # SCSI and NVMe; MMC
_SERIALS: Final = ("serial", "device/serial")  # virtio; NVMe and MMC
_VPD_HEADER: Final = 4


def parse_vpd_serial(page: str) -> str:
    """The unit serial number out of SCSI's vital product data page 80h: 4 bytes of header, its last two the length.

    ``page`` is the text that ``rooted`` makes of it. A byte that is no ASCII has become U+FFFD; as a length that is
    beyond every page, so the text ends with the page.
    """
    if len(page) < _VPD_HEADER:
        return ""
    length = ord(page[2]) * 256 + ord(page[3])
    return clean_text(page[_VPD_HEADER:][:length], TEXT_BYTES)


def read_model(root: Path, place: str, udev: dict[str, str]) -> str:
    """Model of the drive at ``place`` (``sys/block/sda``) with the properties ``udev``; "" when it says none."""
    return _one_line(unescape(udev.get("ID_MODEL_ENC", ""))) or next(
        (model for name in _MODELS if (model := _one_line(read_text(root, f"{place}/{name}")))), ""
    )


def _one_line(text: str) -> str:
    """SCSI fills a model up with blanks, which udev and some drives keep within it."""
    return clean_text(" ".join(text.split()), TEXT_BYTES)


def read_serial(root: Path, place: str, udev: dict[str, str]) -> str:
    """Serial number of the drive at ``place``; "" when it has none that we may read."""
    told = (clean_text(udev.get(name, ""), TEXT_BYTES) for name in _UDEV_SERIALS)
    if serial := next(filter(None, told), ""):
        return serial
    read = (clean_text(read_text(root, f"{place}/{name}"), TEXT_BYTES) for name in _SERIALS)
    return next(filter(None, read), "") or parse_vpd_serial(read_text(root, f"{place}/device/vpd_pg80"))
