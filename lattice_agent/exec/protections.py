"""What protects a host from a script: one table, and the judgement of what a probe has seen by it. Pure.

A protection is in force if it was seen from inside a cell (``protection_signs``); what cannot be seen is not taken for
granted. The table says at which levels a protection belongs to what the level promises: without it the level is not
reached. Where its absence is only *told*, the level is reached, and weaker than it could be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lattice_agent.exec import protection_signs as signs
from lattice_agent.exec.plan import Level
from lattice_agent.exec.probe_seen import Seen

STRICT, NETWORK, LANDLOCK = Level.STRICT, Level.NETWORK, Level.LANDLOCK
EVERYWHERE: Final = frozenset({STRICT, NETWORK, LANDLOCK})
NAMESPACED: Final = frozenset({STRICT, NETWORK})
NOWHERE: Final[frozenset[Level]] = frozenset()
SHARED_UID, KEPT_GROUPS = "shared-host-uid", "kept-supplementary-groups"
"""Features that say what is missing."""
SCOPING_ABI: Final = 6
"""Landlock keeps signals and abstract sockets inside from here on."""
UNIQUE_UID: Final = "unique uid"
AS_ROOT: Final = "run the agent as root: each cell then gets ids that nobody else has"
NO_GROUPS: Final = "no supplementary groups"
"""The one protection that policy can do without (``allow_supplementary_groups``)."""
OURS: Final = "the step that gives it was carried out without an error; please report this with the kernel's version"
NEWER_KERNEL: Final = "Linux 6.12 or newer has it (Landlock ABI 6)"


@dataclass(frozen=True)
class Protection:
    """One row of the table."""

    name: str
    required: frozenset[Level]
    """Levels that are not reached without it."""
    sign: Callable[[Seen], str]
    """Empty if it was seen in force, else what was seen instead."""
    consequence: str
    """Of its absence."""
    fix: str = OURS
    feature: Callable[[Seen], str] | str = ""
    """What ``agent_runtime`` calls it."""
    instead: str = ""
    """The feature that tells of its absence."""
    told: frozenset[Level] = NOWHERE
    """Levels that are reached without it, and where its absence is told."""
    by_calls: bool = False
    """Only python3 inside a cell can see it."""

    def concerns(self, seen: Seen) -> bool:
        """Whether this probe could see it."""
        return seen.level in self.required | self.told and (seen.calls is not None or not self.by_calls)


@dataclass(frozen=True)
class Lack:
    """A protection that was not seen in force at a level."""

    protection: Protection
    seen: str
    required: bool


@dataclass(frozen=True)
class Verdict:
    """What the probe of one level comes to."""

    verified: tuple[str, ...]
    """Names of protections, in the order of the table."""
    lacks: tuple[Lack, ...]
    features: tuple[str, ...]
    """In the words of ``agent_runtime``."""


def judge(seen: Seen) -> Verdict:
    """Every protection that concerns this level, looked for in what was seen."""
    verified, lacks, features = [], [], []
    for protection in PROTECTIONS:
        if not protection.concerns(seen):
            continue
        instead = protection.sign(seen)
        if instead:
            lacks.append(Lack(protection, instead, seen.level in protection.required))
            features.append(protection.instead)
        else:
            verified.append(protection.name)
            features.append(protection.feature if isinstance(protection.feature, str) else protection.feature(seen))
    return Verdict(tuple(verified), tuple(lacks), tuple(filter(None, features)))


def _if_user_namespace(seen: Seen) -> str:
    return "user-namespace" if seen.own_user_namespace else ""


def _landlock_version(seen: Seen) -> str:
    return f"landlock-abi-{seen.outside.landlock_abi}"


def _memory_feature(seen: Seen) -> str:
    return "cgroup-v2-memory-max" if "memory" in seen.controllers else "memory-watch"


def _processes_feature(seen: Seen) -> str:
    return "cgroup-v2-pids-max" if "pids" in seen.controllers else "pids-limit"


PROTECTIONS: Final = (
    Protection(
        "pid namespace",
        NAMESPACED,
        signs.pid_namespace,
        "scripts see and can signal processes of their uid, and the end of all that they start is not certain",
        feature="pid-namespace",
    ),
    Protection(
        "mount namespace",
        NAMESPACED,
        signs.mount_namespace,
        "what is mounted for a script is mounted on the host",
        feature="mount-namespace",
    ),
    Protection(
        "network namespace",
        frozenset({STRICT}),
        signs.network_namespace,
        "scripts reach the network and the services of the host",
        feature="network-namespace",
    ),
    Protection(
        "ipc namespace",
        NAMESPACED,
        signs.namespace("ipc"),
        "scripts leave shared memory and queues behind",
        feature="ipc-namespace",
    ),
    Protection("uts namespace", NAMESPACED, signs.uts_namespace, "the host's name is seen", feature="uts-namespace"),
    Protection(
        "cgroup namespace",
        NAMESPACED,
        signs.namespace("cgroup"),
        "the host's cgroups are seen by name",
        feature="cgroup-namespace",
    ),
    Protection(
        "user namespace",
        NAMESPACED,
        signs.user_namespace,
        "without it nothing of the above can be had without root",
        feature=_if_user_namespace,
    ),
    Protection(
        "minimal root",
        NAMESPACED,
        signs.minimal_root,
        "scripts read whatever file permissions allow",
        feature="minimal-rootfs",
    ),
    Protection("read-only files", NAMESPACED, signs.read_only, "scripts change files that others use"),
    Protection("own /proc", NAMESPACED, signs.own_proc, "scripts see other processes and settings of the kernel"),
    Protection(
        "private file locks",
        NOWHERE,
        signs.private_locks,
        "scripts that run at the same time can talk to each other by flock(2) on files that both see",
        "load the kernel module overlay",
        told=NAMESPACED,
    ),
    Protection(
        "work directory limits",
        NAMESPACED,
        signs.work_limits,
        "scripts can fill memory with files",
        feature="tmpfs-workdir-limit",
    ),
    Protection("own work directory", EVERYWHERE, signs.own_place, "files of a script are readable for others"),
    Protection(
        "name resolution",
        NOWHERE,
        signs.name_resolution,
        "host names do not resolve inside, or not as outside",
        told=frozenset({NETWORK}),
    ),
    Protection(
        "Landlock",
        EVERYWHERE,
        signs.landlock_files,
        "one wall less around files",
        "start the kernel with landlock in its list lsm=",
        feature=_landlock_version,
    ),
    Protection("unprivileged ids", EVERYWHERE, signs.unprivileged_ids, "scripts run as root"),
    Protection(
        UNIQUE_UID,
        NOWHERE,
        signs.unique_uid,
        "scripts share a uid with the agent and with each other: limits on processes count them together",
        f"{AS_ROOT}; or install the package uidmap and give the agent's user a range of ids, one line USER:FIRST:COUNT "
        "in /etc/subuid and one in /etc/subgid (usermod --add-subuids 200000-265535 --add-subgids 200000-265535 USER)",
        feature="unique-uid",
        instead=SHARED_UID,
        told=EVERYWHERE,
    ),
    Protection(
        NO_GROUPS,
        EVERYWHERE,
        signs.no_groups,
        "files and sockets that are open to a group are open to scripts",
        "start the agent without supplementary groups (setpriv --clear-groups; systemd: SupplementaryGroups= empty), "
        "or set allow_supplementary_groups = true in its local policy",
        instead=KEPT_GROUPS,
    ),
    Protection(
        "no capabilities",
        EVERYWHERE,
        signs.no_capabilities,
        "scripts have a part of root's power",
        feature="no-capabilities",
    ),
    Protection(
        "no new privileges",
        EVERYWHERE,
        signs.no_new_privileges,
        "set-user-id programs give scripts the rights of their owner",
        feature="no-new-privileges",
    ),
    Protection("locked securebits", EVERYWHERE, signs.securebits, "one wall less around capabilities", by_calls=True),
    Protection("own session", EVERYWHERE, signs.own_session, "scripts can write to and type into a terminal"),
    Protection(
        "own session keyring",
        frozenset({LANDLOCK}),
        signs.session_keyring,
        "keys of the agent's session serve scripts as well",
    ),
    Protection("nothing inherited", EVERYWHERE, signs.descriptors, "scripts use descriptors of the agent"),
    Protection(
        "system call filter",
        EVERYWHERE,
        signs.system_calls,
        "the whole kernel is open to scripts",
        feature="seccomp-allowlist",
    ),
    Protection(
        "dangerous calls refused",
        EVERYWHERE,
        signs.refused_calls,
        "parts of the kernel are open to scripts that ordinary programs do without",
        by_calls=True,
    ),
    Protection("no typing into terminals", EVERYWHERE, signs.typing, "scripts type for their users", by_calls=True),
    Protection("no other sockets", EVERYWHERE, signs.sockets, "scripts talk to the kernel's subsystems", by_calls=True),
    Protection(
        "host services out of reach",
        frozenset({STRICT, LANDLOCK}),
        signs.host_services,
        "scripts use services that trust the host's own programs",
        by_calls=True,
    ),
    Protection(
        "abstract sockets out of reach",
        frozenset({STRICT}),
        signs.abstract_sockets,
        "scripts reach services of the host that listen on unix sockets without a path",
        NEWER_KERNEL,
        told=frozenset({NETWORK, LANDLOCK}),
        by_calls=True,
    ),
    Protection(
        "nested Landlock domains",
        EVERYWHERE,
        signs.landlock_domains,
        "the init that ends a script would reach further than its cell",
        by_calls=True,
    ),
    Protection(
        "init out of reach",
        frozenset({LANDLOCK}),
        signs.signals,
        "scripts can end the process that ends them",
        NEWER_KERNEL,
        told=NAMESPACED,
    ),
    Protection(
        "agent out of reach",
        frozenset({LANDLOCK}),
        signs.agent,
        "scripts read the agent's secrets, or end it",
    ),
    Protection(
        "orphans stay",
        frozenset({LANDLOCK}),
        signs.orphans,
        "processes that a script leaves get away from its end",
    ),
    Protection("limits of a process", EVERYWHERE, signs.static_limits, "one process can use up what all need"),
    Protection(
        "limit on processes",
        EVERYWHERE,
        signs.processes,
        "scripts can fill the table of processes",
        feature=_processes_feature,
    ),
    Protection(
        "memory limit",
        EVERYWHERE,
        signs.memory,
        "scripts can use up the host's memory",
        feature=_memory_feature,
    ),
    Protection(
        "no hidden memory",
        EVERYWHERE,
        signs.hidden_memory,
        "memory that no process shows as its own is not counted",
        by_calls=True,
    ),
    Protection("killed first", EVERYWHERE, signs.killed_first, "the kernel may kill the agent in a script's place"),
)
