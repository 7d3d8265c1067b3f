"""The decision on one task: refuse it, or say exactly how it will run. Pure: no files, no clock, no environment.

The control plane can narrow what a node does, never widen it: a task's wish and the owner's policy meet in the lower of
the two. Of the policy's own bounds, those of ``[limits]``, of the level and of the interpreter all hold, so the lowest
counts; a rule for the very script stands in their place, because it is the owner's most particular word. The format of
the policy file is described in docs/policy.md, the choice of the level in ``level_choice``.
"""

import hashlib
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lattice_agent.exec import local_policy
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import ROOT_REFUSED, LevelChoice, choose_level
from lattice_agent.exec.local_policy import INTERPRETERS, Bounds, LocalPolicy, ScriptRule
from lattice_agent.exec.plan import (
    CPU_MARGIN_S,
    TASK_PATH,
    Level,
    Limits,
    Plan,
    Profile,
    Refusal,
    RefusalKind,
    TaskRequest,
)
from lattice_agent.exec.script_header import HeaderError, asked_level

__all__ = ["HostState", "LocalPolicy", "decide"]  # and what is defined below

DEFAULT_TIMEOUT_S: Final = 30
DEFAULT_OUTPUT_BYTES: Final = 65_536
MAX_SCRIPT_BYTES: Final = 65_536
MAX_ID_CHARACTERS: Final = 256
ROOT_LINGER_S: Final = 120.0
"""Default of ``host_linger_s`` with the root opt-in: the firewall scripts of the server leave a 60 s watchdog."""
AGENT_UPDATE_MARK: Final = "lattice agent update: effective target="
"""Printed by the server's agent-update script, which puts a Go binary over the path of this program."""

EXEC_DISABLED: Final = "agent task execution disabled; restart with -allow-exec=true to enable"
NOT_ALLOWLISTED: Final = "interpreter is not allowlisted"
REPLACEMENT_REFUSED: Final = (
    "refusing to replace this agent by the Go agent: update it on the node with the way it was installed, "
    "or set allow_agent_replacement = true in the local policy"
)


@dataclass(frozen=True)
class Ask:
    """What policy looks at in a task. ``level`` is the one its script asks for."""

    interpreter: str
    sha256: str
    """Of the script's text, hexadecimal, lower case."""
    level: Level | None
    timeout_sec: int
    output_limit: int


@dataclass(frozen=True)
class Terms:
    """How a task may run, and why there."""

    choice: LevelChoice
    interpreter_path: str
    limits: Limits
    profile: Profile | None
    linger_s: float
    environment: tuple[str, ...]
    """Names that policy passes on from the agent's environment."""


def decide(request: TaskRequest, policy: LocalPolicy, host: HostState) -> Plan | Refusal:
    """Refuse the task or say exactly how it will run. The gates and their order are those of protocol 3.1."""
    # ``agree`` has the first gates as well; here they come before the words of a request that will not run anyway.
    if refusal := _gates(request.interpreter, policy, host) or _request_refusal(request, policy):
        return refusal
    try:
        ask = ask_of(request)
    except HeaderError as error:
        return Refusal(RefusalKind.REQUEST, str(error))
    terms = agree(ask, policy, host)
    if isinstance(terms, Refusal):
        return terms
    return Plan(
        run_id=request.task_id,
        level=terms.choice.level,
        interpreter=request.interpreter,
        interpreter_path=terms.interpreter_path,
        script=request.script.encode(),
        environment=_environment(request, terms, host),
        limits=terms.limits,
        linger_s=terms.linger_s,
        # A cell with a root of its own has its work directory inside.
        work_root=host.work_root if terms.choice.level in (Level.HOST, Level.LANDLOCK) else None,
        profile=terms.profile,
    )


def ask_of(request: TaskRequest) -> Ask:
    """What policy looks at in this task, whose script is valid Unicode. Raises HeaderError."""
    return Ask(
        interpreter=request.interpreter,
        sha256=hashlib.sha256(request.script.encode()).hexdigest(),
        level=asked_level(request.script, request.interpreter),
        timeout_sec=request.timeout_sec,
        output_limit=request.output_limit,
    )


def agree(ask: Ask, policy: LocalPolicy, host: HostState) -> Terms | Refusal:
    """Everything that policy says about a task, whoever asks: ``decide``, or the owner by ``policy explain``."""
    if refusal := _gates(ask.interpreter, policy, host):
        return refusal
    rule = policy.scripts.get(ask.sha256)
    if refusal := _script_refusal(ask, rule, policy):
        return refusal
    choice = choose_level(ask.level, rule, policy, host)
    if isinstance(choice, Refusal):
        return choice
    path = _interpreter_path(ask.interpreter, choice.level, policy, host)
    if isinstance(path, Refusal):
        return path
    return Terms(
        choice=choice,
        interpreter_path=path,
        limits=_limits(ask, choice.level, rule, policy, host),
        profile=profile_at(choice.level, policy),
        linger_s=_linger_s(policy, host) if choice.level is Level.HOST else 0.0,
        environment=policy.level_rule(choice.level).environment,
    )


def profile_at(level: Level, policy: LocalPolicy) -> Profile | None:
    """The kind of cell that this policy makes of a level; None for level host, which has none."""
    if level is Level.HOST:
        return None
    rule = policy.level_rule(level)
    return Profile(
        level=level,
        network=rule.network and level is Level.LANDLOCK,
        read_only=rule.read_only,
        writable=rule.writable,
        work_bytes=rule.work_bytes,
        work_inodes=rule.work_inodes,
        work_disk=rule.work_disk,
    )


def _gates(interpreter: str, policy: LocalPolicy, host: HostState) -> Refusal | None:
    if host.no_exec or not host.allow_exec:
        return Refusal(RefusalKind.EXEC_DISABLED, EXEC_DISABLED)
    if host.uid == 0 and not host.allow_root_exec and host.reached <= {Level.HOST}:
        return Refusal(RefusalKind.ROOT, ROOT_REFUSED)
    if interpreter not in INTERPRETERS:
        return Refusal(RefusalKind.INTERPRETER, NOT_ALLOWLISTED)
    if not policy.rule(interpreter).allowed:
        return Refusal(RefusalKind.INTERPRETER, f"{NOT_ALLOWLISTED} by this node's policy: {interpreter}")
    return None


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


def _script_refusal(ask: Ask, rule: ScriptRule | None, policy: LocalPolicy) -> Refusal | None:
    if rule is None:
        if policy.only_listed_scripts:
            reason = "only scripts that this node's policy lists run here, and this one is not among them"
            return Refusal(RefusalKind.SCRIPT, f"{reason}: sha256 {ask.sha256}")
        return None
    if not rule.allowed:
        return Refusal(RefusalKind.SCRIPT, f"this node's policy forbids this script: sha256 {ask.sha256}")
    if rule.interpreter not in (None, ask.interpreter):
        reason = f"this node's policy lists this script for {rule.interpreter}, not for {ask.interpreter}"
        return Refusal(RefusalKind.SCRIPT, f"{reason}: sha256 {ask.sha256}")
    return None


def _interpreter_path(name: str, level: Level, policy: LocalPolicy, host: HostState) -> str | Refusal:
    on_host = host.interpreters.get(name)
    path = on_host if level is Level.HOST else host.confined_interpreters.get(level, {}).get(name)
    if path is not None:
        return path
    if on_host is None:
        return Refusal(RefusalKind.INTERPRETER_MISSING, f"interpreter not found: {policy.expected_path(name) or name}")
    return Refusal(
        RefusalKind.INTERPRETER_MISSING,
        f"interpreter not found inside a cell of level {level}: {name} is {on_host} on this node, outside of what such "
        f"a cell shows; set interpreters.{name}.path in the local policy to one below /usr, or add the directories it "
        f"needs to levels.{level}.read_only",
    )


def _environment(request: TaskRequest, terms: Terms, host: HostState) -> tuple[tuple[str, str], ...]:
    passed_on = tuple((name, host.environment[name]) for name in terms.environment if name in host.environment)
    ids = (("LATTICE_TASK_ID", request.task_id), ("LATTICE_TASK_LEASE_ID", request.lease_id))
    if terms.choice.level is not Level.HOST:
        return (("PATH", TASK_PATH), *ids, *passed_on)
    return (
        ("PATH", _path_with(posixpath.dirname(host.agent_bin))),
        *ids,
        ("LATTICE_AGENT_BIN", host.agent_bin),
        *host.agent_environment,
        *passed_on,
    )


def _path_with(directory: str) -> str:
    """TASK_PATH with the agent's own directory last, where it can shadow nothing. A colon cannot be written in PATH."""
    if not directory or ":" in directory or directory in TASK_PATH.split(":"):
        return TASK_PATH
    return f"{TASK_PATH}:{directory}"


def _limits(ask: Ask, level: Level, rule: ScriptRule | None, policy: LocalPolicy, host: HostState) -> Limits:
    tables = (policy.bounds, policy.level_rule(level).bounds, policy.rule(ask.interpreter).bounds)
    particular = rule.bounds if rule else Bounds()

    def bound(read: Callable[[Bounds], int | None], default: int) -> int:
        """What the script's rule says; else the lowest of what the tables say; else the default."""
        of_script = read(particular)
        if of_script is not None:
            return of_script
        return min((value for table in tables if (value := read(table)) is not None), default=default)

    longest = bound(lambda table: table.max_timeout_s, local_policy.MAX_TIMEOUT_S)
    most_output = bound(lambda table: table.max_output_bytes, local_policy.MAX_OUTPUT_BYTES)
    processes = bound(lambda table: table.processes, local_policy.PROCESSES)
    timeout_s = min(ask.timeout_sec if ask.timeout_sec > 0 else DEFAULT_TIMEOUT_S, longest)
    return Limits(
        wall_s=float(timeout_s),
        output_bytes=min(ask.output_limit if ask.output_limit > 0 else DEFAULT_OUTPUT_BYTES, most_output),
        cpu_s=timeout_s + CPU_MARGIN_S,
        processes=processes + (host.uid_threads or 0)
        if shares_uid(level, policy.level_rule(level).work_disk, host)
        else processes,
        memory_bytes=bound(lambda table: table.memory_bytes, local_policy.MEMORY_BYTES),
        cpu_percent=bound(lambda table: table.cpu_percent, 0) or None,
        file_bytes=bound(lambda table: table.file_bytes, local_policy.FILE_BYTES),
        data_bytes=bound(lambda table: table.data_bytes, local_policy.DATA_BYTES),
        # Under 8 GiB node can neither make a WebAssembly memory nor fetch (its HTTP parser is WebAssembly): it
        # reserves address space that it never uses. RLIMIT_DATA bounds what it really allocates.
        address_bytes=None if ask.interpreter == "node" else Limits.address_bytes,
    )


def shares_uid(level: Level, work_disk: str | None, host: HostState) -> bool:
    """Whether a script's uid has other threads: an unprivileged agent has to own, and remove, what lies on its disk."""
    return level in host.shared_uid or (host.uid != 0 and work_disk is not None)


def _linger_s(policy: LocalPolicy, host: HostState) -> float:
    if policy.host_linger_s is not None:
        return policy.host_linger_s
    return ROOT_LINGER_S if host.allow_root_exec else 0.0
