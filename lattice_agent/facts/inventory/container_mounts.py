"""Containers by what is mounted on the places that their managers fill in (``/proc/self/mountinfo``).

Only those places: a host of containers has their file systems mounted, too, but elsewhere.
"""

from typing import Final

from lattice_agent.facts.inventory.finding import Finding, cite

_FILLED_IN: Final = frozenset({"/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"})
_SECRETS: Final = "/run/secrets/kubernetes.io/"  # below /var on most
_WORDS: Final = (
    ("/kubelet/pods/", "kubernetes"),
    ("/docker/", "docker"),
    ("/containers/storage/", "podman"),
    ("/overlay-containers/", "podman"),
    ("/lxc/", "lxc"),
    ("containerd", "container-other"),
)
_LXCFS: Final = "fuse.lxcfs"  # a file system of LXC's makers; it shows the container's share of memory and CPUs


def parse_mounts(mountinfo: str) -> Finding | None:
    """The manager that the mounts name; of several the one that stands first in the table of names.

    Kubernetes before the runtime it employs.
    """
    found = [finding for line in mountinfo.splitlines() if (finding := _parse_mount(line))]
    return min(found, key=lambda finding: _RANK[finding.name], default=None)


_RANK: Final = {name: rank for rank, name in enumerate(("kubernetes", "docker", "podman", "lxc", "container-other"))}


def _parse_mount(line: str) -> Finding | None:
    """Fields: id, parent, device, root, mount point, options, any number of tags, ``-``, type, source, options."""
    head, _, tail = line.partition(" - ")
    fields, rest = head.split(" "), tail.split(" ")
    if len(fields) < 6 or len(rest) < 2:
        return None
    place, kind = fields[4], rest[0]
    if _SECRETS in place:
        return _found("kubernetes", place, "serviceaccount")
    if kind == _LXCFS and place.startswith("/proc/"):
        return _found("lxc", place, kind)
    if place not in _FILLED_IN:
        return None
    origin = f"{fields[3]} {tail}"
    return next((_found(name, place, word) for word, name in _WORDS if word in origin), None)


def _found(name: str, place: str, value: str) -> Finding:
    return Finding(name, cite(f"/proc/self/mountinfo {place}", value))
