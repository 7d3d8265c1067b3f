"""``doctor [--json]``: what this host can enforce for the user who asks, verified by scripts inside cells.

Exit codes: 0, level strict is reached and nothing that matters is weaker than it could be; 1, something is weaker (the
rows that say ``degraded`` or ``missing``); 2, no level that isolates is reached. Nothing on the host is changed.
"""

import json
import logging
import os
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, HelpRequested, parse, usage
from lattice_agent.cli.stream_through import print_whole
from lattice_agent.errors import LatticeError
from lattice_agent.exec.findings import Finding, State, Surroundings, findings, severity
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import LevelChoice, default_level
from lattice_agent.exec.local_policy import LocalPolicy
from lattice_agent.exec.plan import Level
from lattice_agent.exec.probe_result import HostProbe, ProbeResult
from lattice_agent.logs import clean

PROGRAM: Final = "lattice-agent doctor"
FLAGS: Final = (Flag("json", FlagKind.BOOL, "Print JSON."),)
WIDTH: Final = 110
_EXIT_CODES: Final = (
    "exit code: 0 strict is reached and nothing that matters is weaker; 1 something is weaker; "
    "2 no isolating level is reached\n"
)


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the table; the exit code is its severity. Raises FlagError (exit 2) for a call that makes no sense."""
    known = {flag.name: flag for flag in FLAGS}
    try:
        parsed = parse(known, words)
    except HelpRequested:
        sys.stderr.write(usage(PROGRAM, known) + _EXIT_CODES)
        return os.EX_OK
    if parsed.rest:
        raise FlagError(f"doctor takes no {parsed.rest[0]!r}", hint=f"it is {PROGRAM} [--json]")
    probe, around = _examine(environ.get("PATH", os.defpath))
    rows = findings(probe, around)
    code = severity(rows, probe)
    told = json.dumps(_told(rows, probe, around, code), indent=2) if parsed.values.get("json") else _text(rows, probe)
    print_whole(told)
    return code


def _examine(search_path: str) -> tuple[HostProbe, Surroundings]:
    from lattice_agent.exec.surroundings import look_around

    # What a failing step has to say is in the table.
    logging.getLogger("lattice_agent").addHandler(logging.NullHandler())
    around = look_around(search_path)
    try:
        probe = _probe()
    except LatticeError as error:
        failed: dict[Level, ProbeResult] = {
            level: ProbeResult(level, reached=False, because=f"{error}; {error.hint()}")
            for level in Level
            if level is not Level.HOST
        }
        probe = HostProbe(failed, ())
    return probe, around


def _probe() -> HostProbe:
    """Raises SandboxError when there is no spawner."""
    from lattice_agent.exec.launch import start_spawner

    spawner = start_spawner()  # it comes up while the rest is imported

    from lattice_agent.cli.interrupts import run_interruptible
    from lattice_agent.exec.probe import probe_host
    from lattice_agent.exec.runner import open_runner

    async def probe() -> HostProbe:
        async with open_runner(spawner) as runner:
            return await probe_host(runner, thorough=True)

    return run_interruptible(probe)


# --- telling ---


def _told(rows: Sequence[Finding], probe: HostProbe, around: Surroundings, code: int) -> dict[str, Any]:
    return {
        "uid": around.uid,
        "kernel": around.kernel,
        "reached": [level.value for level in reversed(Level) if level in probe.reached],
        "highest": probe.highest.value,
        "tasks_run_at": _tasks_run_at(probe)[0],
        "exit_code": code,
        "levels": [
            {
                "level": result.level.value,
                "reached": result.reached,
                "because": result.because,
                "features": sorted(result.features),
                "verified": list(result.verified),
            }
            for result in probe.results.values()
        ],
        "findings": [asdict(row) for row in rows],
    }


def _tasks_run_at(probe: HostProbe) -> tuple[str | None, str]:
    """The level of tasks with ``-allow-exec=true`` alone, by the very rule of the agent; and why."""
    host = HostState(
        allow_exec=True,
        allow_root_exec=False,
        no_exec=False,
        uid=os.geteuid(),
        interpreters={},
        agent_bin="",
        work_root=None,
        uid_threads=None,
        reached=probe.reached,
        kept_groups=probe.kept_groups,
        drops_groups=probe.drops_groups,
    )
    choice = default_level(LocalPolicy(), host)
    return (choice.level.value, choice.because) if isinstance(choice, LevelChoice) else (None, choice.reason)


def _text(rows: Sequence[Finding], probe: HostProbe) -> str:
    wide = max(len(row.check) for row in rows)
    lines = [line for row in rows for line in _row(row, wide)]
    level, because = _tasks_run_at(probe)
    uid = os.geteuid()
    lines += ["", f"The highest level reached as uid {uid} is {probe.highest}."]
    lines += textwrap.wrap(
        f"-allow-exec=true alone runs tasks at {level} ({because})."
        if level
        else f"-allow-exec=true alone runs no task: {because}.",
        WIDTH,
    )
    return clean("\n".join(lines))


def _row(row: Finding, wide: int) -> list[str]:
    indent = " " * (len(State.DEGRADED) + 2 + wide + 2)
    lines = _wrapped(f"{row.state:<{len(State.DEGRADED)}}  {row.check:<{wide}}  ", row.seen, indent)
    if row.state is not State.OK:
        for label, text in (("means: ", row.consequence), ("fix: ", row.fix)):
            if text:
                lines += _wrapped(indent + label, text, indent + " " * len(label))
    return lines


def _wrapped(first: str, text: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    ) or [first.rstrip()]
