"""What a decision needs to know of the node and of the agent's switches. Pure; ``host`` reads the first kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lattice_agent.exec.plan import Level


@dataclass(frozen=True)
class HostState:
    """The node at the moment of a decision."""

    allow_exec: bool
    allow_root_exec: bool
    no_exec: bool
    uid: int
    interpreters: Mapping[str, str]
    """Name to path of the interpreters that are there, policy's paths applied (``host.find_interpreters``)."""
    agent_bin: str
    """Absolute path of the ``lattice-agent`` command."""
    work_root: str | None
    uid_threads: int | None
    """Threads of this uid now; None if they could not be counted."""
    agent_environment: tuple[tuple[str, str], ...] = ()
    """What the one-shot modes of ``agent_bin`` need to know inside a task, such as the file of a private CA."""
    reached: frozenset[Level] = frozenset({Level.HOST})
    """Levels whose every protection was seen to hold here; HOST is always among them."""
    confined_interpreters: Mapping[Level, Mapping[str, str]] = field(default_factory=dict)
    """By level, name to path inside a cell (``host.find_confined_interpreters``); levels differ in extra paths."""
    shared_uid: frozenset[Level] = frozenset({Level.HOST})
    """Levels at which a script's uid has other threads as well, so that RLIMIT_NPROC must leave room for them."""
    kept_groups: tuple[int, ...] = ()
    """Supplementary groups of an unprivileged agent, which scripts in cells keep but for those of ``drops_groups``."""
    drops_groups: frozenset[Level] = frozenset()
    """Levels whose cells were seen without groups."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The agent's own, for the names that policy passes on."""
