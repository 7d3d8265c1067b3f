"""What the host runs in, by the rule of protocol reference 4.1 (first hit wins). The inventory will know more."""

from pathlib import Path
from typing import Final

from lattice_agent.facts.lexical import clean_text
from lattice_agent.facts.rooted import exists, read_text
from lattice_agent.facts.system import NAME_LIMIT

_CGROUP_WORDS: Final = ("docker", "kubepods", "containerd", "lxc")


def parse_cgroup_container(cgroup: str) -> str:
    """The container runtime that ``/proc/1/cgroup`` mentions, or ""."""
    return next((word for word in _CGROUP_WORDS if word in cgroup), "")


def has_hypervisor_flag(cpuinfo: str) -> bool:
    """Whether ``/proc/cpuinfo`` has the ``hypervisor`` flag, which x86 sets inside a virtual machine."""
    return "hypervisor" in cpuinfo.split()


def read_virtualization(root: Path, cpuinfo: str, container_variable: str = "") -> str:
    """``docker``, ``lxc``, …, ``container``, ``vm`` or ``unknown``.

    ``container_variable`` is the value of ``container`` in the environment the agent was started with, which is where
    container managers leave their name; ``cpuinfo`` the text of ``/proc/cpuinfo``.
    """
    if container := clean_text(container_variable, NAME_LIMIT):
        return container
    if exists(root, ".dockerenv"):
        return "docker"
    if exists(root, "run/.containerenv"):
        return "container"
    if word := parse_cgroup_container(read_text(root, "proc/1/cgroup")):
        return word
    return "vm" if has_hypervisor_flag(cpuinfo) else "unknown"
