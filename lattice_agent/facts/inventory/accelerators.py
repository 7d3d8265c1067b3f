"""Accelerators: display controllers and processing accelerators among ``/sys/bus/pci/devices``.

Virtual functions of a card that is listed itself (SR-IOV, they have a ``physfn`` link) are left out: they are shares of
it, up to 256 of a card. In a virtual machine that was given one there is no such link, and it counts.

A host without PCI (many arm64 boards, containers with a hidden ``/sys``) has none, which is no gap.
"""

import re
from collections.abc import Hashable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.pci_ids import read_names
from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import exists, link_target, names_in, read_text
from lattice_agent.wire.host_inventory import MAX_ACCELERATORS, TEXT_BYTES, Accelerator

_DEVICES: Final = "sys/bus/pci/devices"
_DRIVERS: Final = "sys/bus/pci/drivers"
_NVIDIA: Final = "proc/driver/nvidia/gpus"
_KINDS: Final = (("03", "display"), ("12", "accelerator"), ("0b40", "accelerator"))  # by the begin of the class
_CLASS: Final = re.compile(r"0x([0-9a-f]{6})")
_ID: Final = re.compile(r"0x([0-9a-f]{4})")
_UNKNOWN: Final = "unknown"  # what nvidia's driver says of a card it has not started yet


def parse_kind(text: str) -> str:
    """``display``, ``accelerator`` or "" (any other device) out of ``class``, such as ``0x030200``."""
    found = _CLASS.fullmatch(text.strip().lower())
    return next((kind for begin, kind in _KINDS if found and found[1].startswith(begin)), "")


def parse_id(text: str) -> str:
    """Four hex digits out of ``vendor`` or ``device``, such as ``0x10de``; "" when it is none."""
    found = _ID.fullmatch(text.strip().lower())
    return found[1] if found else ""


def parse_nvidia_model(text: str) -> str:
    """The value of ``Model:`` in ``/proc/driver/nvidia/gpus/*/information``, or ""."""
    for line in text.split("\n"):
        key, _, value = line.partition(":")
        model = clean_text(value, TEXT_BYTES)
        if key.strip() == "Model" and model.lower() != _UNKNOWN:
            return model
    return ""


def fingerprint(root: Path) -> Hashable:
    """The devices and the drivers there are. A driver that is bound by hand to a device is not seen."""
    return tuple(names_in(root, _DEVICES)), tuple(names_in(root, _DRIVERS))


def read(root: Path) -> tuple[Accelerator, ...]:
    """The devices in the order of their slots, the first ``MAX_ACCELERATORS``. Raises nothing."""
    found = tuple(islice(_cards(root), MAX_ACCELERATORS))
    nameless = frozenset((card.vendor_id, card.device_id) for card in found if not card.model)
    names = read_names(root, nameless)
    return tuple(
        card.model_copy(update={"model": card.model or names.get((card.vendor_id, card.device_id), "")})
        for card in found
    )


def _cards(root: Path) -> Iterator[Accelerator]:
    for slot in names_in(root, _DEVICES):
        place = f"{_DEVICES}/{slot}"
        kind = parse_kind(read_text(root, f"{place}/class"))
        if not kind or exists(root, f"{place}/physfn"):
            continue
        yield Accelerator(
            slot=clean_text(slot, TEXT_BYTES),
            kind=kind,
            vendor_id=parse_id(read_text(root, f"{place}/vendor")),
            device_id=parse_id(read_text(root, f"{place}/device")),
            model=parse_nvidia_model(read_text(root, f"{_NVIDIA}/{slot}/information")),
            driver=clean_text(link_target(root, f"{place}/driver").rpartition("/")[2], TEXT_BYTES),
        )
