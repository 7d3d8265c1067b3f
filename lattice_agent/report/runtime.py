"""What the agent says it may and can do: ``agent_runtime`` (protocol reference 4.3). Pure.

Only what is in force is named. At the levels that have cells it is what a probe inside a cell saw to hold; at level
host it is what every run gets. The server keeps 16 features, so more are never listed.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from lattice_agent.wire.runtime import FEATURES_KEPT, AgentRuntime

HOST: Final = "host"
STRONGEST_FIRST: Final = ("strict", "network", "landlock", HOST)
HOST_FEATURES: Final = (
    "interpreter-allowlist",
    "minimal-env",
    "no-new-privileges",
    "output-cap",
    "own-session",
    "private-umask",
    "rlimit-as",
    "rlimit-cpu",
    "rlimit-data",
    "rlimit-fsize",
    "rlimit-nproc",
    "subreaper-sweep",
    "task-local-tmpdir",
    "temp-workdir",
    "timeout",
)
AT_EVERY_LEVEL: Final = ("interpreter-allowlist", "minimal-env", "output-cap", "timeout")
"""Kept by the agent itself; no probe is needed to know it."""
TELLING: Final = (
    # What is missing comes first: a reader must not take its absence from the list for strength.
    "shared-host-uid",
    "kept-supplementary-groups",
    "pid-namespace",
    "mount-namespace",
    "network-namespace",
    "user-namespace",
    "unique-uid",
    "no-capabilities",
    "no-new-privileges",
    "seccomp-allowlist",
    "landlock-abi-",
    "minimal-rootfs",
    "cgroup-v2-memory-max",
    "memory-watch",
    "tmpfs-workdir-limit",
    "cgroup-v2-pids-max",
    "pids-limit",
    "timeout",
    "output-cap",
    "cgroup-v2-cpu-max",
    "ipc-namespace",
    "uts-namespace",
    "cgroup-namespace",
)
"""The order in which features are kept when there are more than the server takes; what ends in a dash is a prefix."""

NOT_ISOLATED: Final = (
    "level host: scripts are bounded but not isolated; they have the agent's uid and can read what it can read, "
    "a token file included"
)
AS_ROOT: Final = "level host: task scripts run as root and can do anything, reading the node token included"
LANDLOCK: Final = "level landlock: no namespaces; scripts see the host's processes and are in its network namespace"
NETWORK: Final = "level network: scripts reach the host's network, its loopback services included"
ROOT_REFUSED: Final = "agent runs as root but task execution is refused until -allow-root-exec is set"
UNSATISFIED: Final = "tasks are refused unless policy grants them a level: none satisfies it of those reached here"
_WARNINGS: Final = {"network": NETWORK, "landlock": LANDLOCK}
_NO_LEVEL: Final = "level-refused"


def describe_runtime(
    *,
    allow_exec: bool,
    allow_root_exec: bool,
    no_exec: bool,
    uid: int,
    usage_file: str,
    usage_url: str,
    xray_api: str = "",
    xray_bin: str = "",
    xray_pattern: str = "",
    singbox_api: str = "",
    reported_at: datetime,
    level: str | None = HOST,
    reached: Collection[str] = (HOST,),
    features: Iterable[str] = (),
) -> AgentRuntime:
    """The switches as they are in force, and the level tasks really get.

    ``level`` is that of a task that asks for none, None if policy refuses such a task; ``reached`` are all the host
    reaches; ``features`` are what a probe saw to hold at ``level`` (for levels that have cells).
    """
    effective = allow_exec and not no_exec
    sandbox, named, warning = _sandbox(effective, allow_root_exec, uid, level, reached, features)
    return AgentRuntime(
        allow_exec=effective,
        allow_root_exec=allow_root_exec and not no_exec,
        no_exec=no_exec,
        allow_terminal=False,
        terminal_transport="poll",
        task_sandbox=sandbox,
        task_sandbox_features=named,
        task_sandbox_warning=warning,
        proxy_usage_file=usage_file,
        proxy_usage_url=usage_url,
        proxy_usage_xray_api=xray_api,
        proxy_usage_xray_bin=xray_bin,
        proxy_usage_xray_pattern=xray_pattern,
        singbox_stats_api=singbox_api,
        reported_at=reported_at,
    )


def most_telling(features: Iterable[str]) -> tuple[str, ...]:
    """At most as many as the server keeps, sorted as it sorts them."""
    ranked = sorted(set(features), key=lambda feature: (_rank(feature), feature))
    return tuple(sorted(ranked[:FEATURES_KEPT]))


def _rank(feature: str) -> int:
    for rank, known in enumerate(TELLING):
        if feature == known or (known.endswith("-") and feature.startswith(known)):
            return rank
    return len(TELLING)


def _sandbox(
    effective: bool,
    allow_root_exec: bool,
    uid: int,
    level: str | None,
    reached: Collection[str],
    features: Iterable[str],
) -> tuple[str, tuple[str, ...], str]:
    if not effective:
        return "disabled", ("exec-kill-switch",), ""
    if uid == 0 and not allow_root_exec and (level == HOST or (level is None and "strict" not in reached)):
        return "root-refused", ("root-exec-guard",), ROOT_REFUSED
    if level is None:
        return _NO_LEVEL, ("min-level",), f"{UNSATISFIED}: {_names(reached)}"
    if level == HOST:
        return HOST, _host_features(uid), _with_stronger(AS_ROOT if uid == 0 else NOT_ISOLATED, reached)
    warning = _WARNINGS.get(level, "")
    return level, most_telling((*features, *AT_EVERY_LEVEL)), warning


def _host_features(uid: int) -> tuple[str, ...]:
    return HOST_FEATURES if uid == 0 else tuple(sorted((*HOST_FEATURES, "non-root-agent")))


def _with_stronger(warning: str, reached: Collection[str]) -> str:
    stronger = [level for level in reached if level != HOST]
    return f"{warning}; reached here: {_names(stronger)}" if stronger else warning


def _names(levels: Collection[str]) -> str:
    return ", ".join(sorted(levels, key=STRONGEST_FIRST.index))
