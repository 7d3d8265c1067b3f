"""What this node's owner allows, as values: the policy file once it is read (docs/policy.md). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.exec.plan import MIB, Level

INTERPRETERS: Final = ("sh", "bash", "python3", "node")
"""The allowlist of the wire. Policy can take from it, not add to it."""
FIXED_PATHS: Final[Mapping[str, str]] = {"sh": "/bin/sh", "bash": "/bin/bash"}
"""Interpreters that are not looked for on PATH."""
MAX_TIMEOUT_S: Final = 900
"""The longest a server asks for (agent updates). More is cut to this, never replaced by a shorter default."""
MAX_OUTPUT_BYTES: Final = 262_144
MEMORY_BYTES: Final = 512 * MIB
PROCESSES: Final = 64
"""In a cell in all; at a level whose uid others use as well, above the threads that the uid has (protocol 3.4)."""
FILE_BYTES: Final = 8 * MIB
DATA_BYTES: Final = 512 * MIB


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Upper bounds of a run that one table of the policy names; None: the table does not speak of it."""

    max_timeout_s: int | None = None
    max_output_bytes: int | None = None
    """Kept of each output stream."""
    memory_bytes: int | None = None
    """Of a whole cell; without effect at level host."""
    processes: int | None = None
    cpu_percent: int | None = None
    """Of one processor, for a whole cell; in force where a cgroup controller is delegated."""
    file_bytes: int | None = None
    data_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class InterpreterRule:
    """What policy says about one interpreter."""

    allowed: bool = True
    path: str | None = None
    """Run this program instead, e.g. /bin/bash for sh: Debian's dash fails the server's ``trap … ERR`` scripts."""
    bounds: Bounds = Bounds()


@dataclass(frozen=True, kw_only=True)
class LevelRule:
    """What policy says about one level. What a field means is said at ``plan.Profile``, where it has the same name."""

    allowed: bool | None = None
    """True: tasks may ask for it. False: nothing runs at it. None: it is not given for the asking."""
    bounds: Bounds = Bounds()
    environment: tuple[str, ...] = ()
    """Names of variables that are passed on from the agent's environment."""
    network: bool = False
    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    work_bytes: int = 64 * MIB
    work_inodes: int = 8192
    work_disk: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScriptRule:
    """What policy says about one script, known by the SHA-256 of its text."""

    allowed: bool = True
    interpreter: str | None = None
    """The only interpreter that it is listed for; None: any. The same text means something else to another one."""
    level: Level | None = None
    """Where it runs; it may ask for more, not for less."""
    bounds: Bounds = Bounds()
    """In place of what other tables say: a script that the owner has read may get more than the rest."""


@dataclass(frozen=True, kw_only=True)
class LocalPolicy:
    """The policy file as values; the default is what holds without a file."""

    from_file: bool = False
    """Whether there is a file. Without one, ``-allow-root-exec=true`` means level host."""
    min_level: Level | None = None
    """The weakest level that a task gets without a grant. None: see ``level_choice.minimum``."""
    default_level: Level | None = None
    """For tasks that ask for none; None: the strongest that the host reaches."""
    levels: Mapping[Level, LevelRule] = field(default_factory=dict)
    interpreters: Mapping[str, InterpreterRule] = field(default_factory=dict)
    scripts: Mapping[str, ScriptRule] = field(default_factory=dict)
    """By hexadecimal SHA-256, lower case."""
    only_listed_scripts: bool = False
    bounds: Bounds = Bounds()
    """Of every run."""
    host_linger_s: float | None = None
    """None: 0, or ``policy.ROOT_LINGER_S`` with the root opt-in."""
    allow_agent_replacement: bool = False
    allow_supplementary_groups: bool = False
    """Cells may keep groups of an agent that cannot drop them."""

    def rule(self, interpreter: str) -> InterpreterRule:
        """The rule for one interpreter; the default one where the file is silent."""
        return self.interpreters.get(interpreter, InterpreterRule())

    def level_rule(self, level: Level) -> LevelRule:
        """The rule for one level; the default one where the file is silent."""
        return self.levels.get(level, LevelRule())

    def expected_path(self, interpreter: str) -> str | None:
        """The one path an interpreter may have; None for one that is looked for in several places."""
        return self.rule(interpreter).path or FIXED_PATHS.get(interpreter)
