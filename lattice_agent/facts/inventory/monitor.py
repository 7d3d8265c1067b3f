"""The virtual machine monitor: the program that plays the machine, whichever hypervisor runs its processors."""

from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.finding import Finding, cite
from lattice_agent.facts.rooted import read_text

_TABLES: Final = ("sys/firmware/acpi/tables/DSDT", "sys/firmware/acpi/tables/FACP")
_HEADER_BYTES: Final = 16
"""Signature, length, revision, checksum (10 bytes together), and the OEM id (6)."""

_OEM_IDS: Final = {"FIRECK": "firecracker", "CLOUDH": "cloud-hypervisor", "BOCHS ": "qemu"}
"""QEMU took over the id of the emulator Bochs, whose firmware it began with."""

_DMI_FIELDS: Final = ("sys_vendor", "product_name")
_DMI_PREFIXES: Final = {"QEMU": "qemu", "Cloud Hypervisor": "cloud-hypervisor"}


def read_monitor(root: Path) -> Finding | None:
    """By the maker of the ACPI tables, which only root may read, or else by DMI."""
    for table in _TABLES:
        if oem := parse_oem_id(read_text(root, table, _HEADER_BYTES)):
            return Finding(_OEM_IDS[oem], cite(f"/{table} OEM id", oem))
    for field in _DMI_FIELDS:
        value = read_text(root, f"sys/class/dmi/id/{field}").strip()
        if prefix := next((prefix for prefix in _DMI_PREFIXES if value.startswith(prefix)), ""):
            return Finding(_DMI_PREFIXES[prefix], cite(f"/sys/class/dmi/id/{field}", value))
    return None


def parse_oem_id(header: str) -> str:
    """The known id at the end of a table's first 16 bytes, or "".

    The end, because length and checksum before it are no text, and need not be as many characters as bytes.
    """
    return next((oem for oem in _OEM_IDS if header.endswith(oem)), "")
