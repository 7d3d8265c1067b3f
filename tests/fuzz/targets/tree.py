"""A whole host made of files: everything that is read of one, together, as the agent reads it."""

import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from lattice_agent.facts.detail.sampler import DetailSampler
from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.host import collect_host_facts
from lattice_agent.facts.inventory.families import inventory_families
from lattice_agent.facts.look import Look
from lattice_agent.facts.metrics import MetricsSampler
from lattice_agent.wire.base import WireModel, decode, encode
from tests.fuzz.form import scratch, text
from tests.fuzz.target import Target

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_FILE, _LINK = "\f ", "\f-> "
_FILES_MOST: Final = 400


def _host(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        root = Path(folder)
        _write(root, text(data))
        _whole(collect_host_facts(Look(root), NOW))
        _whole(MetricsSampler(root).sample(NOW, 100.0))
        sampler = DetailSampler(root)
        for seconds in (100.0, 110.0):
            _whole(sampler.sample(Look(root), seconds))


def _inventory(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        root = Path(folder)
        _write(root, text(data))
        for family in inventory_families().values():
            family.fingerprint(root)
            with suppress(FactsError):
                found = family.read(root)
                for part in found if isinstance(found, tuple) else (found,):
                    _whole(part)


def _whole(message: WireModel) -> None:
    """What is sent of it can be read."""
    decode(type(message), encode(message))


def _write(root: Path, tree: str) -> None:
    """Files and links out of a text: a line with a form feed and a path begins each, nothing leads out of ``root``."""
    for part in ("\n" + tree).split("\n\f")[1 : _FILES_MOST + 1]:
        head, _, content = ("\f" + part).partition("\n")
        if head.startswith(_LINK):
            path, _, target = head.removeprefix(_LINK).partition(" ")
            _put(root, path, lambda place, target=target: place.symlink_to(target))
        elif head.startswith(_FILE):
            _put(root, head.removeprefix(_FILE), lambda place, content=content: place.write_text(content, "utf-8"))


def _put(root: Path, path: str, put: object) -> None:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    place = root.joinpath(*parts)
    with suppress(OSError, ValueError):  # a name that no file can have, or a file where a directory would have to be
        if not parts or any(parent.is_symlink() for parent in (place, *place.parents)):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        put(place)  # type: ignore[operator]


TARGETS: Final = (
    Target(
        "tree.host",
        ("lattice_agent.facts.host", "lattice_agent.facts.metrics", "lattice_agent.facts.detail.sampler",
         "lattice_agent.facts.reading", "lattice_agent.facts.rooted", "lattice_agent.facts.traffic"),
        _host, (), "facts and metrics are messages that the server reads",
    ),
    Target(
        "tree.inventory",
        tuple(f"lattice_agent.facts.inventory.{name}" for name in (
            "accelerators", "cgroup", "clock", "cpu", "disks", "filesystems", "hardware", "interfaces", "memory",
            "packages", "system", "virtualization", "hypervisor", "container", "device_files", "dmi_vendors",
            "firmware_hypervisor", "drive_identity", "pci_ids", "udev_data", "smbios", "monitor")),
        _inventory, (), "every family is a message that the server reads, or says why it is missing",
    ),
)  # fmt: skip
