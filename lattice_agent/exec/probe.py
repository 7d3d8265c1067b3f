"""Which levels this host really reaches: found out by running scripts inside cells, not by reading versions.

For each level a cell is built, and a shell script in it tells what it sees and tries what it must not be able to
(``probe_script``); a second one uses more memory than it may. ``protections`` judges. A level is reached if every
protection that it promises was seen to hold. Nothing on the host is changed.

``probe_host`` is cheap enough for the start of an agent: 0.1 to 0.2 s on two cores, a cold spawner included. With
``thorough`` python3, where it is to be had inside, tries system calls and sockets as well (``lattice-agent doctor``).
"""

import glob
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import trio

from lattice_agent.errors import SandboxError
from lattice_agent.exec import blueprint, cell_steps, probe_script, template
from lattice_agent.exec.host import CONFINED_PLACES, count_uid_threads, find_confined_interpreters
from lattice_agent.exec.kernel import cgroup_place, landlock
from lattice_agent.exec.library import plan_for
from lattice_agent.exec.local_policy import INTERPRETERS, LocalPolicy
from lattice_agent.exec.outcome import Kind, Outcome, error_text
from lattice_agent.exec.plan import Level, Limits, Profile
from lattice_agent.exec.probe_result import HostProbe, ProbeResult
from lattice_agent.exec.probe_script import Facts, read_facts
from lattice_agent.exec.probe_seen import Expected, Outside, Seen, parse_namespaces
from lattice_agent.exec.protections import NO_GROUPS, judge
from lattice_agent.exec.runner import Runner

__all__ = ["HostProbe", "ProbeResult", "probe_host"]  # and what is defined below

PROBED: Final = (Level.STRICT, Level.NETWORK, Level.LANDLOCK)
"""Levels that have cells. HOST needs no probe: it promises nothing."""
PROBE_S: Final = 20.0
"""Bound of a whole probe: the wait for a cell (15 s on a machine that swaps), and the script. Then: not reached."""
_LIMITS: Final = Limits(wall_s=5.0, output_bytes=131_072, cpu_s=5, processes=32, grace_s=0.1)
"""RLIMIT_NPROC counts all that an unprivileged agent's uid has, also outside of the cell: that is added."""
_HOG_S: Final = 2.0
_COUNT_S: Final = 10.0
_READ_MOST: Final = 1 << 20
_LIMIT_LINES: Final[Mapping[str, str]] = {
    "core": "Max core file size",
    "nofile": "Max open files",
    "stack": "Max stack size",
    "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size",
    "sigpending": "Max pending signals",
    "nice": "Max nice priority",
    "rtprio": "Max realtime priority",
}
"""Name in ``cell_steps.STATIC_LIMITS`` to the line of /proc/self/limits."""


async def probe_host(runner: Runner, *, thorough: bool = False, allow_groups: bool = False) -> HostProbe:
    """Probe every level that has cells, at the same time. Raises nothing of its own: what fails is not reached.

    ``allow_groups``: a level is reached although scripts keep this process's supplementary groups. An agent gives True
    and hands ``kept_groups`` on to ``HostState``: then its policy decides, and can say so.
    """
    outside = look_outside(thorough=thorough)
    room = 0 if outside.uid == 0 else count_uid_threads(outside.uid) or 0
    limits = replace(_LIMITS, processes=_LIMITS.processes + room)
    before = _own_tree()
    found: dict[Level, _Scripts] = {}

    async def one(level: Level) -> None:
        found[level] = await _run_scripts(runner, level, limits, services)

    with _services(thorough) as services, trio.move_on_after(PROBE_S):
        async with trio.open_nursery() as nursery:
            for level in PROBED:
                nursery.start_soon(one, level)
    changed = "" if _own_tree() == before else "the host's / or /tmp is another one than before the probe"
    controllers = _controllers(runner.spawner_pid)
    results = {}
    for level in PROBED:
        scripts = found.get(level, _Scripts(failure=f"the probe was not over within {PROBE_S:.0f} s"))
        results[level] = _result(
            level, scripts, _Around(outside, limits, controllers, changed), allow_groups=allow_groups
        )
    return HostProbe(MappingProxyType(results), outside.groups, controllers)


def look_outside(*, thorough: bool = False) -> Outside:
    """What is true of this process. Raises nothing: what cannot be read is left out."""
    status = read_facts("\n".join(f"status {line}" for line in _read("/proc/self/status").splitlines()).encode())
    filters = status.named("status").get("Seccomp_filters", "")
    return Outside(
        uid=os.geteuid(),
        groups=() if os.geteuid() == 0 else tuple(sorted(set(os.getgroups()) - {os.getegid()})),
        namespaces=parse_namespaces({name: _link(f"/proc/self/ns/{name}") for name in _names("/proc/self/ns")}),
        seccomp_filters=int(filters) if filters.isdigit() else 0,
        session_keyrings=frozenset(line.split()[0] for line in _read("/proc/keys").splitlines() if " _ses:" in line),
        resolver=_read("/etc/resolv.conf"),
        landlock_abi=landlock.abi(),
        landlock_layers=_count_layers() if thorough else -1,
    )


def expected() -> Expected:
    """The numbers and names of the steps themselves."""
    return Expected(
        limits={_LIMIT_LINES[name]: value for name, _number, value in cell_steps.STATIC_LIMITS},
        tcp_buffers=cell_steps.TCP_BUFFERS,
        hostname="cell",
        umask=cell_steps.UMASK,
        root=frozenset((*template.SYSTEM_DIRECTORIES, "/proc", blueprint.TMP, "/etc", "/dev", "/var")),
        etc=frozenset(
            (
                *template.ETC_FILES,
                *(name.split("/")[0] for name in template.ETC_DIRECTORIES),
                *("passwd", "group", "hosts", "resolv.conf"),
            )
        ),
        devices=frozenset((*template.DEVICES, *(name for name, _target in template.DEVICE_LINKS))),
    )


# --- running ---


@dataclass(frozen=True)
class _Around:
    """What holds for all levels of one probe."""

    outside: Outside
    limits: Limits
    controllers: frozenset[str]
    host_changed: str


@dataclass(frozen=True)
class _Scripts:
    """What the scripts of one level came to."""

    facts: Facts | None = None
    calls: Facts | None = None
    memory: str = ""
    failure: str = ""


async def _run_scripts(runner: Runner, level: Level, limits: Limits, services: Mapping[str, str]) -> _Scripts:
    """One after the other: a cell for each, built when it is asked for."""
    programs = [f"{place}/{name}" for place in CONFINED_PLACES for name in INTERPRETERS]
    script = probe_script.shell_script(cell_steps.MASKED, programs)
    try:
        shell = await _run(runner, level, script, limits)
        facts, failure = _understood(shell)
        if failure:
            return _Scripts(failure=failure)
        little = replace(limits, wall_s=_HOG_S, memory_bytes=probe_script.HOG_LIMIT)
        hog = await _run(runner, level, probe_script.hog_script(), little)
        calls = None
        python = find_confined_interpreters(LocalPolicy())[level].get("python3") if services else None
        if python is not None:
            tried = await _run(runner, level, probe_script.PYTHON, limits, python, services)
            calls, _failure = _understood(tried)
    except SandboxError as error:
        return _Scripts(failure=str(error))
    memory = "" if hog.kind is Kind.MEMORY_LIMIT else f"a script that used too much was not killed: {hog.kind}"
    return _Scripts(facts, calls, memory)


async def _run(
    runner: Runner,
    level: Level,
    script: str,
    limits: Limits,
    python: str = "",
    services: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Raises SandboxError where there is no sh."""
    environment = {probe_script.AGENT: str(os.getpid()), probe_script.LEVEL: level.value, **services}
    plan = plan_for(script, Profile(level), "sh", limits, environment)
    if python:
        plan = replace(plan, interpreter="python3", interpreter_path=python)
    return await runner.run(plan)


def _understood(outcome: Outcome) -> tuple[Facts | None, str]:
    """The facts, or why there are none."""
    facts = read_facts(outcome.stdout.kept)
    if outcome.kind is Kind.EXITED and "complete" in facts:
        return facts, ""
    if outcome.kind is Kind.FAILED_TO_START:
        return None, outcome.message
    return None, f"the probe's script did not come to its end: {error_text(outcome) or outcome.kind}"


def _result(level: Level, scripts: _Scripts, around: _Around, *, allow_groups: bool) -> ProbeResult:
    if scripts.facts is None:
        return ProbeResult(level, reached=False, because=scripts.failure)
    seen = Seen(
        profile=Profile(level),
        directory="" if level is Level.LANDLOCK else blueprint.WORK,
        limits=around.limits,
        outside=around.outside,
        expected=expected(),
        facts=scripts.facts,
        calls=scripts.calls,
        memory=scripts.memory,
        controllers=around.controllers,
        host_changed=around.host_changed,
    )
    verdict = judge(seen)
    missing = [lack for lack in verdict.lacks if lack.required]
    if allow_groups:
        missing = [lack for lack in missing if lack.protection.name != NO_GROUPS]
    return ProbeResult(
        level,
        reached=not missing,
        because="; ".join(f"{lack.protection.name}: {lack.seen}" for lack in missing),
        verified=verdict.verified,
        lacks=verdict.lacks,
        features=verdict.features,
        programs=tuple(scripts.facts.all("program")),
        calls_tried=scripts.calls is not None,
    )


@contextmanager
def _services(wanted: bool) -> Iterator[Mapping[str, str]]:
    """What a script should not reach: a TCP port on loopback and an abstract socket. Nobody needs to accept."""
    if not wanted:
        yield {}
        return
    name = f"lattice-probe-{secrets.token_hex(12)}"
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.listen(len(PROBED))
        abstract.bind(f"\0{name}")
        abstract.listen(len(PROBED))
        yield {probe_script.LISTENER: str(listener.getsockname()[1]), probe_script.ABSTRACT: name}


# --- looking ---


def _controllers(spawner_pid: int) -> frozenset[str]:
    """What the group that holds this spawner's cells passes on to them, as the kernel says."""
    base, refusal = cgroup_place.survey()
    if refusal:
        return frozenset()
    groups = glob.glob(f"{glob.escape(base)}/cells-{spawner_pid}.*/cgroup.subtree_control")
    return frozenset(word for path in groups for word in _read(path).split())


def _count_layers() -> int:
    """How many Landlock domains a child of this process could enter; -1 if that cannot be found out."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", probe_script.LAYERS],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COUNT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return -1
    layers = read_facts(done.stdout).one("landlock_layers")
    return int(layers) if layers.isdigit() else -1


def _own_tree() -> list[tuple[int, int]]:
    """Which directories / and /tmp are. A template that is made in the wrong namespace exchanges both."""
    found = []
    for path in ("/", template.STAGE):
        try:
            status = os.stat(path)
        except OSError:
            found.append((0, 0))
        else:
            found.append((status.st_dev, status.st_ino))
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_READ_MOST).decode("utf-8", "replace")
    except OSError:
        return ""
