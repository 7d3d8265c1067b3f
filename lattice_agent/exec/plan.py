"""What is asked, and what will be done: values only, made by ``policy.decide`` and carried out by ``runner``. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TASK_PATH: Final = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin:/usr/local/sbin"
"""The reference's PATH, then the sbin directories: server-made scripts call nft, wg and systemctl (trap 10)."""
CPU_MARGIN_S: Final = 5
"""The CPU limit lies this far above the wall clock: it is for several processes at once; the clock is the rule."""
MIB: Final = 1 << 20


class Level(StrEnum):
    """How a script is confined. The order of the members is the order of strength, weakest first."""

    HOST = "host"
    """Bounded, not isolated: the script has the agent's uid and sees what the agent sees."""
    LANDLOCK = "landlock"
    """No namespaces: Landlock, seccomp and a reaper; sees the host's processes by name, reaches none of them."""
    NETWORK = "network"
    """As STRICT, with the host's network."""
    STRICT = "strict"
    """Own namespaces, a minimal read-only root, an unprivileged uid, seccomp, Landlock."""

    @property
    def strength(self) -> int:
        """0 for the weakest; a level satisfies a minimum if its strength is not less."""
        return list(Level).index(self)


@dataclass(frozen=True)
class Profile:
    """What a cell is built for, before its task is known: cells of one profile are alike, and pooled together."""

    level: Level
    """STRICT, NETWORK or LANDLOCK; level HOST has no cells."""
    network: bool = False
    """Level LANDLOCK only: TCP and UDP are allowed. NETWORK always has the network, STRICT never."""
    read_only: tuple[str, ...] = ()
    """Host paths that are also there, at the same place, for reading and executing."""
    writable: tuple[str, ...] = ()
    """Host paths that are also there, at the same place, for writing; file permissions still hold."""
    work_bytes: int = 64 * MIB
    """Size of the tmpfs that holds work directory and /tmp."""
    work_inodes: int = 8192
    """Files, directories and links on it."""
    work_disk: str | None = None
    """Make the work directory below this host directory instead: no size limit but file_bytes for each file."""


@dataclass(frozen=True)
class TaskRequest:
    """A task as it was leased (protocol 2.3), whatever its values."""

    task_id: str
    lease_id: str
    interpreter: str
    script: str
    timeout_sec: int
    output_limit: int


@dataclass(frozen=True)
class Limits:
    """What a run may use. None stands for "as the agent has it"."""

    wall_s: float
    """From the start of the interpreter to SIGTERM."""
    output_bytes: int
    """Kept of each stream; more is counted and thrown away."""
    cpu_s: int
    """RLIMIT_CPU of each process: SIGXCPU here, SIGKILL one second later."""
    processes: int
    """RLIMIT_NPROC: of the whole uid, on the whole machine. Without effect for root. A cell's uid is its own."""
    memory_bytes: int = 512 * MIB
    """Of all processes and files of a cell together. Level host has only the limits of each process."""
    cpu_percent: int | None = None
    """Of one processor, for a whole cell, where a cgroup controller can bound it. None: all there are."""
    file_bytes: int = 8 * MIB
    """RLIMIT_FSIZE."""
    data_bytes: int = 512 * MIB
    """RLIMIT_DATA."""
    address_bytes: int | None = 8192 * MIB
    """RLIMIT_AS."""
    grace_s: float = 2.0
    """From SIGTERM to SIGKILL, on timeout and cancellation."""


@dataclass(frozen=True)
class Plan:
    """One decided run. ``environment`` lacks the variables that name the work directory; see ``environment_in``."""

    run_id: str
    """The task id; what audit and log call the run."""
    level: Level
    interpreter: str
    """One of the allowlist: sh, bash, python3, node."""
    interpreter_path: str
    script: bytes
    environment: tuple[tuple[str, str], ...]
    limits: Limits
    linger_s: float = 0.0
    """How long processes that left the main session may outlive it (level host only)."""
    work_root: str | None = None
    """Level host: where the work directory is made; None for the system's temporary directory."""
    profile: Profile | None = None
    """The kind of cell; None at level host."""

    def environment_in(self, directory: str) -> tuple[tuple[str, str], ...]:
        """The complete environment of the script (protocol 3.3) when it runs in ``directory``."""
        places = tuple((name, directory) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"))
        return (*self.environment, *places)


class RefusalKind(StrEnum):
    """Which gate said no."""

    EXEC_DISABLED = "exec_disabled"
    ROOT = "root"
    INTERPRETER = "interpreter"
    INTERPRETER_MISSING = "interpreter_missing"
    REQUEST = "request"
    AGENT_REPLACEMENT = "agent_replacement"
    SCRIPT = "script"
    """Policy forbids this very script, or lists the ones that run and this is not among them."""
    LEVEL = "level"


@dataclass(frozen=True)
class Refusal:
    """A task that will not run; ``reason`` is the exact ``error`` text of its result (protocol 3.1)."""

    kind: RefusalKind
    reason: str
