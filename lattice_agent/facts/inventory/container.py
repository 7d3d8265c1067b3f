"""The container around this process, in the names and by the order of systemd-detect-virt(1).

Beyond that tool, and after what it knows, we read what container managers cannot help leaving behind: the control
group of process 1, and what is mounted on the places that they fill in.
"""

import re
from pathlib import Path
from typing import Final

from lattice_agent.facts.inventory.container_mounts import parse_mounts
from lattice_agent.facts.inventory.finding import Finding, cite
from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import exists, read_text
from lattice_agent.wire.host_inventory import TEXT_BYTES

NO_CONTAINER: Final = "none"
OTHER: Final = "container-other"
_NAMES: Final = frozenset(
    {"systemd-nspawn", "lxc", "lxc-libvirt", "openvz", "docker", "podman", "rkt", "wsl", "proot", "pouch", OTHER}
)
_ANY_MANAGER: Final = "oci"  # some images say so of whatever runs them; the marker files may know more
_MARKERS: Final = (("run/.containerenv", "podman"), (".dockerenv", "docker"))
_NAME_FILES: Final = ("run/host/container-manager", "run/systemd/container")
_ENVIRONMENT: Final = "proc/1/environ"
_CGROUP: Final = "proc/1/cgroup"
_CGROUP_WORDS: Final = (
    *(("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("systemd-nspawn", "systemd-nspawn")),
    *(("machine-lxc", "lxc-libvirt"), ("lxc", "lxc"), ("containerd", OTHER), ("crio-", OTHER)),
)
_TRACER: Final = re.compile(r"^TracerPid:\s*([1-9][0-9]{0,9})$", re.MULTILINE)


def read_container(root: Path, container_variable: str = "") -> Finding | None:
    """What was found, or a finding ``none``; ``None`` is: there was nothing to look at.

    ``container_variable`` is the value of ``container`` in the environment that the agent was started with.
    """
    found = (
        _read_special(root)
        or _read_name(root, container_variable)
        or _read_markers(root)
        or parse_cgroup(read_text(root, _CGROUP))
        or parse_mounts(read_text(root, "proc/self/mountinfo"))
        or _read_cgroup_namespace(root)
    )
    if found:
        return found
    return Finding(NO_CONTAINER, "") if exists(root, "proc/self/mountinfo") or exists(root, _CGROUP) else None


def _read_special(root: Path) -> Finding | None:
    """Containers that are told by the kernel they run on, or by who traces us."""
    if exists(root, "proc/vz") and not exists(root, "proc/bc"):  # the host has both
        return Finding("openvz", "/proc/vz")
    release = clean_text(read_text(root, "proc/sys/kernel/osrelease"), TEXT_BYTES)
    if "Microsoft" in release or "WSL" in release:
        return Finding("wsl", cite("/proc/sys/kernel/osrelease", release))
    if tracer := _TRACER.search(read_text(root, "proc/self/status")):
        name = read_text(root, f"proc/{tracer[1]}/comm").strip()
        return Finding("proot", cite("TracerPid", name)) if name.startswith("proot") else None
    return None


def _read_name(root: Path, container_variable: str) -> Finding | None:
    """The name that the manager has left: in a file, or in the environment of process 1 or of this one."""
    values = [(f"/{path}", _first_line(read_text(root, path))) for path in _NAME_FILES]
    values.append((f"/{_ENVIRONMENT} container", parse_environment(read_text(root, _ENVIRONMENT))))
    values.append(("$container", clean_text(container_variable, TEXT_BYTES)))
    for source, value in values:
        if value == _ANY_MANAGER:
            return _read_markers(root) or Finding(OTHER, cite(source, value))
        if value:
            return Finding(value if value in _NAMES else OTHER, cite(source, value))
    return None


def _first_line(text: str) -> str:
    return clean_text(text.partition("\n")[0], TEXT_BYTES)


def parse_environment(environ: str) -> str:
    """The value of ``container`` among variables that end in zero bytes; "" when there is none."""
    prefix = "container="
    values = (entry[len(prefix) :] for entry in environ.split("\0") if entry.startswith(prefix))
    return clean_text(next(values, ""), TEXT_BYTES)


def _read_markers(root: Path) -> Finding | None:
    return next((Finding(name, f"/{path}") for path, name in _MARKERS if exists(root, path)), None)


def parse_cgroup(cgroup: str) -> Finding | None:
    """The manager that named the control group of process 1."""
    return next((Finding(name, cite(f"/{_CGROUP}", word)) for word, name in _CGROUP_WORDS if word in cgroup), None)


def _read_cgroup_namespace(root: Path) -> Finding | None:
    """Whether what is mounted as the root of control groups is not the root, of which some files are missing."""
    if exists(root, "sys/fs/cgroup/cgroup.type"):
        return Finding(OTHER, "/sys/fs/cgroup/cgroup.type")
    named = "sys/fs/cgroup/systemd"
    if exists(root, f"{named}/tasks") and not exists(root, f"{named}/release_agent"):
        return Finding(OTHER, cite(f"/{named}", "no release_agent"))
    return None
