"""What has changed between two inventories (pure)."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lattice_agent.wire.host_inventory import HostInventory

MAX_CHANGES: Final = 100
"""Told of one comparison; a host on which more has changed at once is another host."""

_NAMED_BY: Final[Mapping[str, str]] = {
    "disks": "name",
    "filesystems": "mount_point",
    "interfaces": "name",
    "accelerators": "slot",
    "gaps": "family",
}
"""Lists, and the field by which the same item is found again."""

_ALWAYS_MOVING: Final = frozenset(
    {"collected_at", "used_bytes", "available_bytes", "inodes", "inodes_used"}  # btrfs and xfs grow inodes
)

Document = dict[str, Any]


def inventory_changes(before: HostInventory, after: HostInventory) -> tuple[str, ...]:
    """One sentence for each change: ``memory.total_bytes: 1024 -> 2048``, ``disks[sdb]: new``, ``disks[sda]: gone``.

    How full file systems are changes all the time and does not count.
    """
    changes = _families(before.model_dump(mode="json"), after.model_dump(mode="json"))
    return tuple(change for _, change in zip(range(MAX_CHANGES), changes, strict=False))


def _families(before: Document, after: Document) -> Iterator[str]:
    for family in HostInventory.model_fields:
        old, new = before.get(family), after.get(family)
        if family in _NAMED_BY:
            yield from _items(family, _by_name(family, old), _by_name(family, new))
        elif family not in _ALWAYS_MOVING:
            yield from _group(family, old, new)


def _by_name(family: str, items: list[Document] | None) -> dict[str, Document]:
    return {str(item.get(_NAMED_BY[family], "")): item for item in items or ()}


def _items(family: str, before: dict[str, Document], after: dict[str, Document]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        yield from _group(f"{family}[{name}]", before.get(name), after.get(name))


def _group(place: str, before: Document | None, after: Document | None) -> Iterator[str]:
    if before is None or after is None:
        if before is not after:
            yield f"{place}: {'new' if before is None else 'gone'}"
        return
    for field in sorted((before.keys() | after.keys()) - _ALWAYS_MOVING):
        old, new = before.get(field), after.get(field)
        if old != new:
            yield f"{place}.{field}: {_shown(old)} -> {_shown(new)}"


def _shown(value: object) -> str:
    return "unknown" if value is None else json.dumps(value, ensure_ascii=False)
