"""What the name of a block device and its path in sysfs say: whether it is a drive, and how it is connected.

``/sys/block/sda`` is a link to ``../devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda``: every
bus on the way to the drive has left a segment of its own there.
"""

import re
from typing import Final

_NO_DRIVE: Final = re.compile(
    r"(loop|ram|zram|dm-|md|nbd|rbd|drbd|zd|mtdblock|ubiblock|sr|scd|fd)[0-9_d]"
    r"|mmcblk[0-9]+[a-z]"  # boot0, rpmb, gp0: parts of the chip with a device each
    r"|nvme[0-9]+c[0-9]+n"  # one path of several to a namespace; nvme0n1 is the namespace itself
)
_VIRTUAL: Final = "/virtual/block/"

# The first that a segment of the path begins with, in this order: what is nearer to the drive says more, so a disk in
# a USB case is usb whatever it speaks inside, and one behind a virtual SCSI controller is virtio.
_TRANSPORTS: Final = (
    ("nvme", re.compile(r"nvme($|[0-9]|-subsys)")),
    ("mmc", re.compile(r"mmc_host$|mmc[0-9]+:")),
    ("iscsi", re.compile(r"session[0-9]+$")),
    ("fc", re.compile(r"rport-")),
    ("sas", re.compile(r"end_device-")),
    ("usb", re.compile(r"usb[0-9]+$")),
    ("sata", re.compile(r"ata[0-9]+$")),
    ("virtio", re.compile(r"virtio[0-9]+$")),
    ("xen", re.compile(r"vbd-")),
    ("hyperv", re.compile(r"VMBUS:|MSFT1000:|vmbus_")),
    ("scsi", re.compile(r"host[0-9]+$|target[0-9]|[0-9]+:[0-9]+:[0-9]+:[0-9]+$")),
)


def is_drive(name: str, path: str) -> bool:
    """Whether there is hardware, or what a hypervisor or a storage network shows as such, behind a block device.

    ``path`` is the text of its link in ``/sys/block``, or "". What the kernel makes by itself is in
    ``/virtual/block/``; the rest of ``/virtual/`` is not left out, for a NVMe namespace with several paths lives there
    (``/virtual/nvme-subsystem/``), and so does FCoE on a VLAN.
    """
    return not _NO_DRIVE.match(name) and _VIRTUAL not in path


def parse_transport(path: str) -> str:
    """The way to a drive out of its path in sysfs; "" when no segment tells (dasd, pmem, or no link)."""
    segments = path.split("/")
    return next((way for way, form in _TRANSPORTS if any(form.match(segment) for segment in segments)), "")
