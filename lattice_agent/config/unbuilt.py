"""Flags and variables of the Go agent whose feature is not built: accepted, and warned about when set.

An existing unit file keeps working; what it asks for in vain is said once at start and reported as off.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

from lattice_agent.config.options import Kind


@dataclasses.dataclass(frozen=True, slots=True)
class Unbuilt:
    """One flag. ``default`` is the Go agent's: giving exactly that asks for nothing."""

    flag: str
    env: str
    feature: str
    kind: Kind = Kind.TEXT
    default: str = ""


_TERMINAL = "web terminal"
_CGROUP = "cgroup limits of tasks"
_SINGBOX = "sing-box discovery"

UNBUILT: Final = (
    Unbuilt("allow-terminal", "LATTICE_AGENT_ALLOW_TERMINAL", _TERMINAL, Kind.SWITCH),
    Unbuilt("terminal-transport", "LATTICE_TERMINAL_TRANSPORT", _TERMINAL, default="poll"),
    Unbuilt("ssh-alerts", "LATTICE_SSH_ALERTS", "ssh login alerts", Kind.SWITCH),
    Unbuilt("log-state-dir", "LATTICE_LOG_STATE_DIR", "log tailing"),
    Unbuilt("task-cgroup-root", "LATTICE_TASK_CGROUP_ROOT", _CGROUP),
    Unbuilt("task-cgroup-memory-max", "LATTICE_TASK_CGROUP_MEMORY_MAX", _CGROUP, default="536870912"),
    Unbuilt("task-cgroup-pids-max", "LATTICE_TASK_CGROUP_PIDS_MAX", _CGROUP, default="64"),
    Unbuilt("task-cgroup-cpu-max", "LATTICE_TASK_CGROUP_CPU_MAX", _CGROUP, default="100000 100000"),
    Unbuilt("singbox-discover", "LATTICE_SINGBOX_DISCOVER", _SINGBOX, Kind.SWITCH),
    Unbuilt("singbox-bin", "LATTICE_SINGBOX_BIN", _SINGBOX, default="sb"),
    Unbuilt("singbox-meta", "LATTICE_SINGBOX_META", _SINGBOX, default="/etc/sing-box/lattice-metadata.json"),
)


def asked_for(flags: Mapping[str, object], environ: Mapping[str, str]) -> tuple[tuple[Unbuilt, str], ...]:
    """Each unbuilt flag that asks for something, with the name it was set under (``-flag`` or the variable)."""
    found = []
    for unbuilt in UNBUILT:
        if unbuilt.flag in flags:
            value, origin = flags[unbuilt.flag], f"-{unbuilt.flag}"
        else:
            value, origin = environ.get(unbuilt.env, ""), unbuilt.env
            if unbuilt.kind is Kind.SWITCH:
                value = value == "1"
        if value and value != unbuilt.default:
            found.append((unbuilt, origin))
    return tuple(found)
