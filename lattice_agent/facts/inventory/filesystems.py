"""File systems: ``/proc/self/mountinfo``, and statfs(2) of the live host for how full they are.

What is mounted changes seldom, how full it is always: ``fingerprint`` is that of the mounts, and ``refresh`` asks only
for the figures of file systems that are known.

statfs(2) blocks for as long as a dead disk or a stuck FUSE server does: call ``read`` and ``refresh`` from a thread
that may be abandoned. A file system at or below a mount point of autofs has no figures, because asking for them would
mount it, or keep it from being unmounted.
"""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.device_files import BY_UUID, device_of, read_uuids, uuid_of
from lattice_agent.facts.inventory.mount_choice import chosen_mounts, is_below_autofs
from lattice_agent.facts.inventory.mountinfo import Mount, parse_mountinfo
from lattice_agent.facts.inventory.udev_data import FOLDER as UDEV
from lattice_agent.facts.lexical import COUNTER_LIMIT, clean_text
from lattice_agent.facts.rooted import is_live, located, read_text, required_text
from lattice_agent.wire.host_inventory import MAX_FILESYSTEMS, TEXT_BYTES, FileSystem

_MOUNTS: Final = "proc/self/mountinfo"
_MOUNTS_LIMIT: Final = 4_194_304  # bytes: some 20 000 mounts; those beyond are not seen


def fingerprint(root: Path) -> Hashable:
    """The table of mounts, and when the sources of UUIDs changed last. How full file systems are is not in it."""
    return read_text(root, _MOUNTS, _MOUNTS_LIMIT), _changed(root, UDEV), _changed(root, BY_UUID)


def _changed(root: Path, path: str) -> int:
    try:
        return os.stat(located(root, path)).st_mtime_ns
    except OSError:
        return 0


def read(root: Path) -> tuple[FileSystem, ...]:
    """The file systems in the order they were mounted, the first ``MAX_FILESYSTEMS``; FactsError without a table."""
    mounts = parse_mountinfo(required_text(root, _MOUNTS, _MOUNTS_LIMIT))
    triggers = [mount.point for mount in mounts if mount.type == "autofs"]
    by_uuid = read_uuids(root)
    found = []
    for mount in chosen_mounts(mounts)[:MAX_FILESYSTEMS]:
        known = _described(root, mount, by_uuid)
        # A mount point that had to be cut for the message would lead to another file system.
        can_ask = is_live(root) and known.mount_point == mount.point and not is_below_autofs(mount, triggers)
        found.append(_with_figures(known) if can_ask else known)
    return tuple(found)


def refresh(known: tuple[FileSystem, ...]) -> tuple[FileSystem, ...]:
    """What ``read`` gave, with the figures of now.

    Only those that had figures are asked again: what ``read`` did not ask stays unasked, and so does a recorded host.
    Pass what ``read`` gave rather than an earlier result, else one that failed once stays without figures. Call it
    while the fingerprint is the same: what was a mount point answers for the file system it is on now.
    """
    return tuple(one if one.size_bytes is None else _with_figures(one) for one in known)


def _described(root: Path, mount: Mount, by_uuid: dict[str, str]) -> FileSystem:
    device = device_of(root, mount.source, mount.number)
    return FileSystem(
        device=clean_text(device, TEXT_BYTES),
        mount_point=clean_text(mount.point, TEXT_BYTES),
        type=clean_text(mount.type, TEXT_BYTES),
        uuid=uuid_of(root, device, mount.number, by_uuid),
        read_only=mount.read_only,
    )


def _with_figures(known: FileSystem) -> FileSystem:
    """``known`` as statfs(2) answers for its mount point; without figures when it does not (EACCES, EIO)."""
    try:
        figures = figures_of(os.statvfs(known.mount_point))
    except (OSError, ValueError):
        figures = figures_of(None)
    return known.model_copy(update=figures)


def figures_of(answer: os.statvfs_result | None) -> dict[str, int | None]:
    """The figures of a message, as df(1) counts them. All are ``None`` when there is no answer, or it has no blocks."""
    if answer is None or not answer.f_blocks:
        return dict.fromkeys(("size_bytes", "used_bytes", "available_bytes", "inodes", "inodes_used"))
    unit, inodes = answer.f_frsize or answer.f_bsize, answer.f_files
    return {
        "size_bytes": _bounded(answer.f_blocks * unit),
        "used_bytes": _bounded((answer.f_blocks - answer.f_bfree) * unit),
        "available_bytes": _bounded(answer.f_bavail * unit),
        "inodes": _bounded(inodes) if inodes else None,
        "inodes_used": _bounded(inodes - answer.f_ffree) if inodes else None,
    }


def _bounded(count: int) -> int:
    return min(max(0, count), COUNTER_LIMIT)
