"""What the agent says it may and can do: ``agent_runtime`` (protocol reference 4.3). Pure.

Only what is in force is named. The server keeps 16 features, so more are never listed.
"""

from datetime import datetime
from typing import Final

from lattice_agent.wire.runtime import AgentRuntime

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
NOT_ISOLATED: Final = (
    "level host: scripts are bounded but not isolated; they have the agent's uid and can read what it can read, "
    "a token file included"
)
AS_ROOT: Final = "level host: task scripts run as root and can do anything, reading the node token included"
ROOT_REFUSED: Final = "agent runs as root but task execution is refused until -allow-root-exec is set"


def describe_runtime(
    *,
    allow_exec: bool,
    allow_root_exec: bool,
    no_exec: bool,
    uid: int,
    usage_file: str,
    usage_url: str,
    reported_at: datetime,
) -> AgentRuntime:
    """The switches as they are in force, and the level tasks really get."""
    effective = allow_exec and not no_exec
    level, features, warning = _sandbox(effective, allow_root_exec, uid)
    return AgentRuntime(
        allow_exec=effective,
        allow_root_exec=allow_root_exec and not no_exec,
        no_exec=no_exec,
        allow_terminal=False,
        terminal_transport="poll",
        task_sandbox=level,
        task_sandbox_features=features,
        task_sandbox_warning=warning,
        proxy_usage_file=usage_file,
        proxy_usage_url=usage_url,
        reported_at=reported_at,
    )


def _sandbox(effective: bool, allow_root_exec: bool, uid: int) -> tuple[str, tuple[str, ...], str]:
    if not effective:
        return "disabled", ("exec-kill-switch",), ""
    if uid == 0 and not allow_root_exec:
        return "root-refused", ("root-exec-guard",), ROOT_REFUSED
    if uid == 0:
        return "host", HOST_FEATURES, AS_ROOT
    return "host", tuple(sorted((*HOST_FEATURES, "non-root-agent"))), NOT_ISOLATED
