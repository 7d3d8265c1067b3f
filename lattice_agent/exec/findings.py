"""What a probe and a look around the host come to: rows of a table, each with its consequence and its fix. Pure.

``lattice-agent doctor`` prints them. How bad a row is counts for the command's exit code: see ``severity``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lattice_agent.exec.plan import MIB, Level
from lattice_agent.exec.probe_result import HostProbe, ProbeResult
from lattice_agent.exec.protections import AS_ROOT, SCOPING_ABI, UNIQUE_UID, Lack

ISOLATING: Final = (Level.STRICT, Level.NETWORK, Level.LANDLOCK)
"""Strongest first."""


class State(StrEnum):
    """Of one row, from fine to bad."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing is weaker for it at the levels that are reached."""
    DEGRADED = "degraded"
    """Something is weaker, or a level is not reached while a stronger one is."""
    MISSING = "missing"
    """Something without which the strongest level is not reached."""


@dataclass(frozen=True)
class Finding:
    """One row."""

    check: str
    state: State
    seen: str
    consequence: str = ""
    """Of what was seen, unless that is fine."""
    fix: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What the host is like, where it bears on the sandbox. None: not there on this kernel, or not to be read."""

    uid: int
    kernel: str
    landlock_abi: int
    native_cell: str = ""
    """Why the program of a waiting cell cannot be executed; empty: it can."""
    libseccomp: str = ""
    """Why libseccomp cannot be used; empty: it can."""
    user_namespaces: int | None = None
    """user.max_user_namespaces"""
    unprivileged_user_namespaces: int | None = None
    """kernel.unprivileged_userns_clone (Debian)."""
    apparmor_user_namespaces: int | None = None
    """kernel.apparmor_restrict_unprivileged_userns (Ubuntu)."""
    typing_into_terminals: int | None = None
    """dev.tty.legacy_tiocsti"""
    masked_proc: tuple[str, ...] = ()
    """Mount points below /proc: a container covers parts of it."""
    cgroup: str = ""
    """The cgroup v2 directory of this process."""
    cgroup_refusal: str = ""
    """Why it is not ours to manage; empty: it is."""
    swap_bytes: int = 0
    subordinate_ids: str = ""
    """Why there is no range of ids for this user; empty: there is one, or it is root and needs none."""
    interpreters: Mapping[str, str] | None = None
    """Name to path on the host, by the PATH of this process."""


def findings(probe: HostProbe, around: Surroundings) -> tuple[Finding, ...]:
    """Every row, in the order in which a reader should meet them."""
    return (
        *_levels(probe, around),
        *_protections(probe, around),
        *_means(around),
        *_memory(probe, around),
        *_interpreters(probe, around),
        *_at_level_host(around),
    )


def severity(rows: tuple[Finding, ...], probe: HostProbe) -> int:
    """0: strict is reached, and nothing that matters is weaker than it could be. 1: weaker. 2: no level isolates."""
    if probe.highest is Level.HOST:
        return 2
    return int(any(row.state in (State.DEGRADED, State.MISSING) for row in rows))


def advice(because: str, around: Surroundings) -> str:
    """The next step for a human whose host does not reach a level, by what a step or the kernel has said."""
    step = because.partition(":")[0]
    if around.native_cell:
        return around.native_cell
    if step == "seccomp" and around.libseccomp:
        return "install the package libseccomp2 (libseccomp) and the Python module pyseccomp"
    if step in ("landlock", "reaper-domain") and around.landlock_abi < SCOPING_ABI:
        return _landlock_advice(around)
    if step == "proc" and "not permitted" in because:
        covered = f" ({', '.join(around.masked_proc[:3])})" if around.masked_proc else ""
        return (
            f"parts of this /proc are covered{covered}, so the kernel lets nobody without root mount another: in a "
            "container use its option for an unmasked /proc (systempaths=unconfined, procMount: Unmasked), run the "
            "agent as root, or let the policy's min_level be landlock"
        )
    if _is_namespace_step(step, because):
        return _namespace_advice(around)
    return ""


def _is_namespace_step(step: str, because: str) -> bool:
    words = ("clone3", "unshare", "setns", "uid_map", "setgroups")
    return step in ("mount-namespace", "namespaces", "ids", "template") or any(word in because for word in words)


def _namespace_advice(around: Surroundings) -> str:
    if around.user_namespaces == 0:
        return "no user namespace may be made: sysctl user.max_user_namespaces=15000"
    if around.uid == 0:
        return "root without CAP_SYS_ADMIN: give it to the agent's service or container, and let it make namespaces"
    if around.unprivileged_user_namespaces == 0:
        return "only root may make user namespaces: sysctl kernel.unprivileged_userns_clone=1, or run the agent as root"
    if around.apparmor_user_namespaces:
        return (
            "AppArmor keeps user namespaces from programs without a profile: write one for the agent that has "
            "'userns,', or sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run the agent as root"
        )
    return "something forbids namespaces here (a container's seccomp filter, a security module): run the agent outside"


def _landlock_advice(around: Surroundings) -> str:
    if not around.landlock_abi:
        return "start the kernel (5.13 or newer, built with Landlock) with landlock in its list lsm="
    return f"Landlock ABI {around.landlock_abi} does not keep signals inside: Linux 6.12 or newer does"


# --- rows ---


def _levels(probe: HostProbe, around: Surroundings) -> Iterator[Finding]:
    for level in ISOLATING:
        result = probe.results[level]
        if result.reached:
            yield Finding(f"level {level}", State.OK, f"reached; {len(result.verified)} protections seen from inside")
            continue
        needed = level is Level.STRICT or probe.highest is Level.HOST
        spare = level is Level.LANDLOCK and Level.STRICT in probe.reached
        state = State.MISSING if needed else State.NOTE if spare else State.DEGRADED
        yield Finding(
            f"level {level}",
            state,
            f"not reached: {result.because}",
            "tasks do not run at this level; nothing falls back to less without min_level in the local policy",
            advice(result.because, around) or _fix_of(result),
        )


def _fix_of(result: ProbeResult) -> str:
    return next((lack.protection.fix for lack in result.lacks if lack.required), "see the step that is named")


def _protections(probe: HostProbe, around: Surroundings) -> Iterator[Finding]:
    """Those of the strongest level one by one; of the others what is different from it."""
    shown = probe.results[probe.highest if probe.highest is not Level.HOST else Level.STRICT]
    for name in shown.verified:
        yield Finding(name, State.OK, f"seen at level {shown.level}")
    told: set[tuple[str, str]] = set()
    for result in (shown, *(probe.results[level] for level in ISOLATING)):
        for lack in result.lacks if result.reached or result is shown else ():
            if (lack.protection.name, lack.seen) not in told:
                told.add((lack.protection.name, lack.seen))
                yield _lacking(result, lack, around)
    if shown.verified and not shown.calls_tried:
        yield Finding(
            "system calls tried",
            State.NOTE,
            "there is no python3 inside to try them with",
            "the filter is in force, but what it refuses was not tried here",
            "install python3 for all users of this host",
        )


def _lacking(result: ProbeResult, lack: Lack, around: Surroundings) -> Finding:
    state = State.DEGRADED if result.reached else State.MISSING
    protection, seen, fix = lack.protection, lack.seen, lack.protection.fix
    if protection.name == UNIQUE_UID and result.level is Level.LANDLOCK:
        fix = AS_ROOT  # there is no user namespace that ids could be mapped into
    elif protection.name == UNIQUE_UID:
        seen += f" ({around.subordinate_ids or 'there is a range of ids, and it could not be used'})"
    return Finding(protection.name, state, f"level {result.level}: {seen}", protection.consequence, fix)


def _means(around: Surroundings) -> Iterator[Finding]:
    """What the sandbox is made with."""
    yield _have("cell program", around.native_cell, "no cell can be made", "install the package with a C compiler (cc)")
    yield _have(
        "libseccomp",
        around.libseccomp,
        "no cell can be made: there is no filter for it",
        "install the package libseccomp2 (libseccomp) and the Python module pyseccomp",
    )
    if around.landlock_abi >= SCOPING_ABI:
        yield Finding("Landlock version", State.OK, f"ABI {around.landlock_abi}")
    else:
        yield Finding(
            "Landlock version",
            State.DEGRADED if around.landlock_abi else State.MISSING,
            f"ABI {around.landlock_abi}" if around.landlock_abi else "this kernel offers none",
            "signals and abstract sockets are not kept inside",
            _landlock_advice(around),
        )
    if around.uid != 0:
        yield _user_namespaces(around)


def _have(check: str, problem: str, consequence: str, fix: str) -> Finding:
    if problem:
        return Finding(check, State.MISSING, problem, consequence, fix)
    return Finding(check, State.OK, "there")


def _user_namespaces(around: Surroundings) -> Finding:
    values = {
        "user.max_user_namespaces": around.user_namespaces,
        "kernel.unprivileged_userns_clone": around.unprivileged_user_namespaces,
        "kernel.apparmor_restrict_unprivileged_userns": around.apparmor_user_namespaces,
    }
    seen = ", ".join(f"{name} = {value}" for name, value in values.items() if value is not None) or "no setting of them"
    closed = around.user_namespaces == 0 or around.unprivileged_user_namespaces == 0
    if not closed and not around.apparmor_user_namespaces:
        return Finding("user namespaces", State.OK, seen)
    state = State.MISSING if closed else State.NOTE
    consequence = "without root there are no other namespaces: strict and network are not reached"
    return Finding("user namespaces", state, seen, consequence, _namespace_advice(around))


def _memory(probe: HostProbe, around: Surroundings) -> Iterator[Finding]:
    if "memory" in probe.controllers:
        yield Finding("memory controller", State.OK, f"cgroup v2, {', '.join(sorted(probe.controllers))}")
        return
    yield Finding(
        "memory controller",
        State.DEGRADED,
        around.cgroup_refusal or f"{around.cgroup} has no memory controller to pass on",
        "the memory of a cell is watched every 10 ms instead: a fast script may use some MiB more before it is ended, "
        "and memfd_create is refused",
        "in the agent's systemd unit: Delegate=yes; as a check from here: systemd-run --pipe -p Delegate=yes "
        "lattice-agent doctor",
    )
    if around.swap_bytes:
        yield Finding(
            "swap",
            State.DEGRADED,
            f"{around.swap_bytes // MIB} MiB of swap, without a limit for a cell",
            "what is swapped out is not counted: a script can use more memory than its limit",
            "as for the memory controller, which limits swap too; or switch swap off",
        )


def _interpreters(probe: HostProbe, around: Surroundings) -> Iterator[Finding]:
    """By name, those of the host that are not to be seen inside."""
    result = next((probe.results[level] for level in ISOLATING if probe.results[level].reached), None)
    for name, path in (around.interpreters or {}).items():
        inside = [] if result is None else [found for found in result.programs if found.endswith(f"/{name}")]
        if inside:
            yield Finding(f"interpreter {name}", State.OK, f"{inside[0]} inside")
        elif result is not None:
            yield Finding(
                f"interpreter {name}",
                State.NOTE,
                f"{path} on the host, not to be seen inside a cell",
                f"{name} scripts do not run in cells",
                f"install {name} below /usr; or set interpreters.{name}.path, and the levels' read_only, in the policy",
            )


def _at_level_host(around: Surroundings) -> Iterator[Finding]:
    yield Finding(
        "level host",
        State.NOTE,
        "bounded, not isolated",
        "a script at this level has the agent's uid: it can read what the agent reads, the node token included"
        + ("; as root it can do anything, and leave anything behind" if around.uid == 0 else ""),
        "do not let the local policy's min_level be host, nor use -allow-root-exec, unless tasks need it",
    )
    if around.typing_into_terminals:
        yield Finding(
            "dev.tty.legacy_tiocsti",
            State.NOTE,
            "1: programs can type into their terminal",
            "at level host a script that is given a terminal could; cells refuse it",
            "sysctl dev.tty.legacy_tiocsti=0",
        )
