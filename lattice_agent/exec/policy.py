"""What this node's owner allows, and the decision on one task. Pure: no files, no clock, no environment.

The control plane can narrow what a node does, never widen it: a limit of the task and one of the policy meet in the
lower of the two. The format of the policy file is described in docs/policy.md.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lattice_agent.exec.plan import (
    CPU_MARGIN_S,
    MIB,
    TASK_PATH,
    Level,
    Limits,
    Plan,
    Refusal,
    RefusalKind,
    TaskRequest,
)

INTERPRETERS: Final = ("sh", "bash", "python3", "node")
"""The allowlist of the wire. Policy can take from it, not add to it."""
FIXED_PATHS: Final[Mapping[str, str]] = {"sh": "/bin/sh", "bash": "/bin/bash"}
"""Interpreters that are not looked for on PATH."""
MAX_TIMEOUT_S: Final = 900
"""The longest a server asks for (agent updates). More is cut to this, never replaced by a shorter default."""
DEFAULT_TIMEOUT_S: Final = 30
MAX_OUTPUT_BYTES: Final = 262_144
DEFAULT_OUTPUT_BYTES: Final = 65_536
MAX_SCRIPT_BYTES: Final = 65_536
MAX_ID_CHARACTERS: Final = 256
PROCESSES_ABOVE_NOW: Final = 64
"""Head-room of RLIMIT_NPROC over the threads the uid has at the moment (protocol 3.4)."""
ROOT_LINGER_S: Final = 120.0
"""Default of ``host_linger_s`` with the root opt-in: the firewall scripts of the server leave a 60 s watchdog."""
AGENT_UPDATE_MARK: Final = "lattice agent update: effective target="
"""Printed by the server's agent-update script, which puts a Go binary over the path of this program."""

EXEC_DISABLED: Final = "agent task execution disabled; restart with -allow-exec=true to enable"
ROOT_REFUSED: Final = "refusing to execute task as root; restart with -allow-root-exec=true to opt in"
NOT_ALLOWLISTED: Final = "interpreter is not allowlisted"
REPLACEMENT_REFUSED: Final = (
    "refusing to replace this agent by the Go agent: update it on the node with the way it was installed, "
    "or set allow_agent_replacement = true in the local policy"
)


@dataclass(frozen=True)
class InterpreterRule:
    """What policy says about one interpreter."""

    allowed: bool = True
    path: str | None = None
    """Run this program instead, e.g. /bin/bash for sh: Debian's dash fails the server's ``trap … ERR`` scripts."""


@dataclass(frozen=True)
class LocalPolicy:
    """The policy file as values; the default is what holds without a file."""

    interpreters: Mapping[str, InterpreterRule] = field(default_factory=dict)
    max_timeout_s: int = MAX_TIMEOUT_S
    max_output_bytes: int = MAX_OUTPUT_BYTES
    file_bytes: int = 8 * MIB
    data_bytes: int = 512 * MIB
    processes: int = PROCESSES_ABOVE_NOW
    host_linger_s: float | None = None
    """None: 0, or ROOT_LINGER_S with the root opt-in."""
    allow_agent_replacement: bool = False

    def rule(self, interpreter: str) -> InterpreterRule:
        """The rule for one interpreter; the default one where the file is silent."""
        return self.interpreters.get(interpreter, InterpreterRule())


@dataclass(frozen=True)
class HostState:
    """What the decision needs to know of the node and of the agent's switches (``host`` reads the first kind)."""

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


def decide(request: TaskRequest, policy: LocalPolicy, host: HostState) -> Plan | Refusal:
    """Refuse the task or say exactly how it will run. The gates and their order are those of protocol 3.1."""
    if host.no_exec or not host.allow_exec:
        return Refusal(RefusalKind.EXEC_DISABLED, EXEC_DISABLED)
    if host.uid == 0 and not host.allow_root_exec:
        return Refusal(RefusalKind.ROOT, ROOT_REFUSED)
    path = _interpreter_path(request.interpreter, policy, host)
    if isinstance(path, Refusal):
        return path
    if refusal := _request_refusal(request, policy):
        return refusal
    return Plan(
        run_id=request.task_id,
        level=Level.HOST,
        interpreter=request.interpreter,
        interpreter_path=path,
        script=request.script.encode(),
        environment=_environment(request, host),
        limits=_limits(request, policy, host),
        linger_s=_linger_s(policy, host),
        work_root=host.work_root,
    )


def effective_timeout_s(timeout_sec: int, policy: LocalPolicy) -> int:
    """Seconds a task may run: its own wish, 30 s without one, at most what policy allows."""
    return min(timeout_sec if timeout_sec > 0 else DEFAULT_TIMEOUT_S, policy.max_timeout_s)


def effective_output_bytes(output_limit: int, policy: LocalPolicy) -> int:
    """Bytes kept per stream: the task's wish, 64 KiB without one, at most what policy allows."""
    return min(output_limit if output_limit > 0 else DEFAULT_OUTPUT_BYTES, policy.max_output_bytes)


def expected_path(interpreter: str, policy: LocalPolicy) -> str | None:
    """The one path an interpreter may have; None for one that is looked for on PATH."""
    return policy.rule(interpreter).path or FIXED_PATHS.get(interpreter)


def _interpreter_path(name: str, policy: LocalPolicy, host: HostState) -> str | Refusal:
    if name not in INTERPRETERS:
        return Refusal(RefusalKind.INTERPRETER, NOT_ALLOWLISTED)
    if not policy.rule(name).allowed:
        return Refusal(RefusalKind.INTERPRETER, f"{NOT_ALLOWLISTED} by this node's policy: {name}")
    path = host.interpreters.get(name)
    if path is None:
        return Refusal(RefusalKind.INTERPRETER_MISSING, f"interpreter not found: {expected_path(name, policy) or name}")
    return path


def _request_refusal(request: TaskRequest, policy: LocalPolicy) -> Refusal | None:
    """Refuse what cannot be run as it is, and what would replace this program."""
    for name, value in (("task_id", request.task_id), ("lease_id", request.lease_id)):
        if not value.isprintable() or not 0 < len(value) <= MAX_ID_CHARACTERS:
            return Refusal(RefusalKind.REQUEST, f"{name} is empty, too long or not printable")
    try:
        size = len(request.script.encode())
    except UnicodeEncodeError:
        return Refusal(RefusalKind.REQUEST, "script is not valid Unicode")
    if size > MAX_SCRIPT_BYTES:
        return Refusal(RefusalKind.REQUEST, f"script has {size} bytes; this agent takes at most {MAX_SCRIPT_BYTES}")
    if AGENT_UPDATE_MARK in request.script and not policy.allow_agent_replacement:
        return Refusal(RefusalKind.AGENT_REPLACEMENT, REPLACEMENT_REFUSED)
    return None


def _environment(request: TaskRequest, host: HostState) -> tuple[tuple[str, str], ...]:
    return (
        ("PATH", _path_with(posixpath.dirname(host.agent_bin))),
        ("LATTICE_TASK_ID", request.task_id),
        ("LATTICE_TASK_LEASE_ID", request.lease_id),
        ("LATTICE_AGENT_BIN", host.agent_bin),
        *host.agent_environment,
    )


def _path_with(directory: str) -> str:
    """TASK_PATH with the agent's own directory last, where it can shadow nothing. A colon cannot be written in PATH."""
    if not directory or ":" in directory or directory in TASK_PATH.split(":"):
        return TASK_PATH
    return f"{TASK_PATH}:{directory}"


def _limits(request: TaskRequest, policy: LocalPolicy, host: HostState) -> Limits:
    timeout_s = effective_timeout_s(request.timeout_sec, policy)
    return Limits(
        wall_s=float(timeout_s),
        output_bytes=effective_output_bytes(request.output_limit, policy),
        cpu_s=timeout_s + CPU_MARGIN_S,
        processes=(host.uid_threads or 0) + policy.processes,
        file_bytes=policy.file_bytes,
        data_bytes=policy.data_bytes,
        # Under 8 GiB node can neither make a WebAssembly memory nor fetch (its HTTP parser is WebAssembly): it
        # reserves address space that it never uses. RLIMIT_DATA bounds what it really allocates.
        address_bytes=None if request.interpreter == "node" else Limits.address_bytes,
    )


def _linger_s(policy: LocalPolicy, host: HostState) -> float:
    if policy.host_linger_s is not None:
        return policy.host_linger_s
    return ROOT_LINGER_S if host.allow_root_exec else 0.0
