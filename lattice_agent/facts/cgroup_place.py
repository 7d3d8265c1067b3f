"""Where the limits of our own control group are: ``/proc/self/cgroup`` and ``/proc/self/mountinfo``.

Theory of operation. The first file names our group by a path within each hierarchy, the second where hierarchies are
mounted and which of their groups is at the mount's top (its root field). Both count from the root of our cgroup
namespace. What is left of the path below the mount's root is the way from the mount's top to our group:

    path                    root of mount     way
    /system.slice/a.service /                 system.slice/a.service    a host; a container with a namespace has "/"
    /docker/1f2e            /docker/1f2e      (none)                    a container without a namespace
    /                       /..               (none)                    mounted above the namespace: the top holds us
    /../b                   /                 no way                    moved out of the namespace: nothing is seen

A group is held to its own limit and to those of all groups above it, so the groups on the way are what counts.
A version 1 hierarchy carries some controllers, the version 2 hierarchy those that no version 1 hierarchy has taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from lattice_agent.facts.inventory.mountinfo import unescape

CONTROLLERS: Final = ("memory", "cpu", "pids")
_GROUPS_LIMIT: Final = 64  # on one way; of a deeper one those next to our group count
_ROOT, _POINT, _FIXED_FIELDS = 3, 4, 6  # of a line of mountinfo, proc_pid_mountinfo(5)
_UP: Final = ".."


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy. ``controllers`` are the known ones of version 1; version 2 has none here."""

    version: int
    root: str
    point: str
    controllers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """Where one controller's limits of ours are: directories relative to the host's root, our own group's first."""

    version: int
    groups: tuple[str, ...] = ()


def parse_membership(cgroup: str) -> dict[str, str]:
    """Path of our group by controller out of ``/proc/self/cgroup``; that of version 2 by ""."""
    paths: dict[str, str] = {}
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if path.startswith("/") and (names or number == "0"):
            paths |= dict.fromkeys(names.split(","), path)
    return paths


def parse_cgroup_mounts(mountinfo: str) -> list[Hierarchy]:
    """The hierarchies out of ``/proc/self/mountinfo`` that are of version 2 or have one of our controllers."""
    mounts = (_parse_mount(line) for line in mountinfo.splitlines() if " - cgroup" in line)
    return [mount for mount in mounts if mount is not None]


def _parse_mount(line: str) -> Hierarchy | None:
    before, _, after = line.partition(" - ")
    fields, types = before.split(" "), after.split(" ")
    if len(fields) < _FIXED_FIELDS or len(types) < 3:
        return None
    root, point = unescape(fields[_ROOT]), unescape(fields[_POINT])
    if _UP in point.split("/"):  # no kernel writes it, and it would lead out of a recorded tree
        return None
    controllers = frozenset(types[2].split(",")).intersection(CONTROLLERS)
    if types[0] == "cgroup2":
        return Hierarchy(2, root, point)
    return Hierarchy(1, root, point, controllers) if types[0] == "cgroup" and controllers else None


def find_place(controller: str, paths: dict[str, str], mounts: Iterable[Hierarchy]) -> Place | None:
    """Where a controller's limits are; without groups if ours cannot be seen, ``None`` if no hierarchy may have it."""
    known = tuple(mounts)
    own = [mount for mount in known if controller in mount.controllers]
    version, name = (1, controller) if own else (2, "")
    candidates = own or [mount for mount in known if mount.version == 2]
    if not candidates:
        return None
    path = paths.get(name, "")
    ways = [(mount, way) for mount in candidates if (way := way_below(path, mount.root)) is not None]
    if not ways:
        return Place(version)
    mount, way = max(ways, key=lambda found: len(found[1]))  # of several mounts that which shows the most groups
    return Place(version, groups_on(mount.point, way))


def way_below(path: str, root: str) -> tuple[str, ...] | None:
    """Names of the groups from a mount's root down to our path, none when they are the same.

    ``None`` when our group is not below that root, or cannot be known to be.
    """
    if not path:
        return None
    ours, top = PurePosixPath(path).parts[1:], PurePosixPath(root).parts[1:]
    if ours.count(_UP) < len(top) == top.count(_UP):
        return ()  # the root is above the namespace; what the groups between are called cannot be known
    way = ours[len(top) :]
    return way if ours[: len(top)] == top and _UP not in way else None


def groups_on(point: str, way: Sequence[str]) -> tuple[str, ...]:
    """Directories of all groups on the way below a mount point, the last one first and the mount point at the end."""
    names = [point.strip("/"), *way]
    return tuple("/".join(names[:length]) for length in range(len(names), 0, -1)[:_GROUPS_LIMIT])
