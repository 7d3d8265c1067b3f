"""``exec [flags] FILE | - | -c SCRIPT``: runs one script in a cell and passes its output and its exit code through.

What the levels strict and network need is imported without trio: most of the time of a short script is the start of
this command. Interrupting the command, or its death, ends the script and all it started.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lattice_agent.cli import outcome_report
from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, FlagValue, HelpRequested, parse, usage
from lattice_agent.cli.outcome_report import NOT_STARTED, READER_GONE, SANDBOX_FAILED
from lattice_agent.cli.script_source import Script, interpret, read_script
from lattice_agent.cli.stream_through import ReaderGoneError, StreamThrough, print_whole
from lattice_agent.errors import LatticeError, SandboxError, SpawnerGoneError
from lattice_agent.exec.library import DEFAULT_LIMITS
from lattice_agent.exec.plan import CPU_MARGIN_S, MIB, TASK_PATH, Level, Limits, Plan, Profile

if TYPE_CHECKING:
    from lattice_agent.exec.outcome import Outcome
    from lattice_agent.exec.output_stream import OnOutput

PROGRAM: Final = "lattice-agent exec"
LEVELS: Final = tuple(level.value for level in reversed(Level))
OUTPUT_BYTES: Final = 16 * MIB
"""Of each stream, by default: what is passed on is kept in memory too, for the outcome."""
READER_S: Final = 1.0
"""Beyond the time of the script: how long its output may wait for a reader."""
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE: Final = re.compile(r"([0-9]{1,15})([KMG]?)(?:i?B)?", re.IGNORECASE)
_FLAGS: Final = (
    Flag("c", FlagKind.STRING, "The script itself, instead of a file."),
    Flag("interpreter", FlagKind.STRING, "sh, bash, python3 or node; unset: what the script's first line says, or sh."),
    Flag("timeout", FlagKind.DURATION, "How long the script may run.", f"{DEFAULT_LIMITS.wall_s:.0f}s"),
    Flag("memory", FlagKind.STRING, "Of all its processes and files together; K, M, G.", "512M"),
    Flag("output-limit", FlagKind.STRING, "Of each stream; more is thrown away.", f"{OUTPUT_BYTES // MIB}M"),
    Flag("level", FlagKind.STRING, f"One of {', '.join(LEVELS)}; never less.", Level.STRICT.value),
    Flag("network", FlagKind.BOOL, "With the host's network: level network, or landlock with network."),
    Flag("keep-groups", FlagKind.BOOL, "Without root: run although scripts keep your supplementary groups."),
    Flag("explain", FlagKind.BOOL, "Run nothing; print the steps and limits that would be in force, and why."),
    Flag("json", FlagKind.BOOL, "Print the outcome, output included, as one JSON object at the end."),
)
_NOTES: Final = (
    "The script's standard input is /dev/null. At level host output comes when the script has ended.\n"
    "The flags may come before or after the file.\n"
)


class ExecError(LatticeError):
    """The script was not run, or not to its end."""

    def __init__(self, message: str, *, hint: str, code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = code


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """The script's exit code, or one that ``--help`` lists. Raises FlagError (exit 2) and other LatticeErrors."""
    try:
        flags, files = _call(words)
    except HelpRequested:
        known = {flag.name: flag for flag in _FLAGS}
        sys.stderr.write(usage(f"{PROGRAM} [flags] FILE | - | -c SCRIPT", known))
        sys.stderr.write(_NOTES + outcome_report.EXIT_CODES + outcome_report.FIELDS)
        return os.EX_OK
    profile = _profile(flags)
    limits = _limits(flags)
    script = _script(flags, files)
    plan = _plan(script, profile, limits, environ)
    if flags.get("explain"):
        return _explain(plan, as_json=bool(flags.get("json")))
    _check_groups(plan, allowed=bool(flags.get("keep-groups")))
    if script.options:
        _say(f"note: the options of the script's first line are not applied: {script.options}")
    return _report(plan, as_json=bool(flags.get("json")))


# --- what is asked -----------------------------------------------------------------------------------------------


def _call(words: Sequence[str]) -> tuple[Mapping[str, FlagValue], list[str]]:
    """The flags, and the files named between or after them."""
    known = {flag.name: flag for flag in _FLAGS}
    values: dict[str, FlagValue] = {}
    files: list[str] = []
    while words:
        parsed = parse(known, words)
        values |= parsed.values
        files += parsed.rest[:1]
        words = parsed.rest[1:]
    return values, files


def _script(flags: Mapping[str, FlagValue], files: Sequence[str]) -> Script:
    if ("c" in flags) == bool(files) or len(files) > 1:
        raise FlagError(
            "one script is expected: FILE, - for standard input, or -c SCRIPT",
            hint="a script takes no arguments here; see lattice-agent exec --help",
        )
    text = _text(flags, "c").encode("utf-8", "surrogateescape") if "c" in flags else read_script(files[0])
    return interpret(text, _text(flags, "interpreter"))


def _profile(flags: Mapping[str, FlagValue]) -> Profile | None:
    """The kind of cell; None for level host, which has none."""
    network = flags.get("network") is True
    name = _text(flags, "level") or (Level.NETWORK if network else Level.STRICT).value
    if name not in LEVELS:
        raise FlagError(f"-level is {name!r}, not one of {', '.join(LEVELS)}", hint="see lattice-agent exec --help")
    level = Level(name)
    if network and level is Level.STRICT:
        raise FlagError("level strict has no network", hint="leave -level out, or make it network")
    return None if level is Level.HOST else Profile(level, network=network and level is Level.LANDLOCK)


def _limits(flags: Mapping[str, FlagValue]) -> Limits:
    wall_s = flags.get("timeout", DEFAULT_LIMITS.wall_s)
    assert isinstance(wall_s, float)
    if wall_s <= 0:
        raise FlagError(f"-timeout is {wall_s:g} s", hint="give a duration above 0, such as 5s or 2m")
    memory = _size(flags, "memory", DEFAULT_LIMITS.memory_bytes)
    return replace(
        DEFAULT_LIMITS,
        wall_s=wall_s,
        cpu_s=int(wall_s) + CPU_MARGIN_S,
        memory_bytes=memory,
        # One process may have it all: going over it is then told as what it is.
        data_bytes=max(memory, DEFAULT_LIMITS.data_bytes),
        output_bytes=_size(flags, "output-limit", OUTPUT_BYTES),
    )


def _size(flags: Mapping[str, FlagValue], name: str, default: int) -> int:
    text = _text(flags, name)
    found = _SIZE.fullmatch(text or str(default))
    size = int(found[1]) * _UNITS[found[2].upper()] if found else 0
    if size <= 0:
        raise FlagError(f"-{name} is {text!r}", hint="give a number of bytes above 0, such as 65536, 256M or 1G")
    return size


def _plan(script: Script, profile: Profile | None, limits: Limits, environ: Mapping[str, str]) -> Plan:
    """Raises ExecError where there is no such interpreter."""
    limits = replace(limits, address_bytes=None if script.interpreter == "node" else limits.address_bytes)
    if os.geteuid() != 0:
        from lattice_agent.exec.host import count_uid_threads

        # RLIMIT_NPROC counts all that a uid has.
        limits = replace(limits, processes=limits.processes + (count_uid_threads(os.geteuid()) or 0))
    return Plan(
        run_id="script",
        level=profile.level if profile else Level.HOST,
        interpreter=script.interpreter,
        interpreter_path=_interpreter_path(script.interpreter, profile, environ),
        script=script.text,
        environment=(("PATH", TASK_PATH),),
        limits=limits,
        profile=profile,
    )


def _interpreter_path(name: str, profile: Profile | None, environ: Mapping[str, str]) -> str:
    from lattice_agent.exec.host import find_confined_interpreters, find_interpreters
    from lattice_agent.exec.local_policy import LocalPolicy

    on_host = find_interpreters(environ.get("PATH", os.defpath), LocalPolicy()).get(name)
    path = on_host if profile is None else find_confined_interpreters(LocalPolicy())[profile.level].get(name)
    if path is None:
        where = f"; on this host it is {on_host}, outside of what a cell shows" if on_host else ""
        raise ExecError(
            f"there is no {name} inside a cell{where}" if profile else f"there is no {name} on PATH",
            hint=f"install {name} below /usr for all users of this host",
            code=NOT_STARTED,
        )
    return path


def _check_groups(plan: Plan, *, allowed: bool) -> None:
    """What an agent leaves to its policy is left to a flag here."""
    if os.geteuid() == 0 or allowed or plan.profile is None:
        return
    kept = sorted(set(os.getgroups()) - {os.getegid()})
    if kept:
        raise ExecError(
            f"the script would keep your supplementary groups ({', '.join(map(str, kept))}), which only root can take "
            "from it",
            hint="allow it with --keep-groups, or run as root or as a user without such groups",
            code=NOT_STARTED,
        )


# --- doing it ----------------------------------------------------------------------------------------------------


def _report(plan: Plan, *, as_json: bool) -> int:
    """Run the plan, pass its output through as it comes, or print all at the end."""
    through = None if as_json else StreamThrough(plan.limits.wall_s + READER_S)
    try:
        outcome = _run(plan, through)
    except ReaderGoneError:
        return READER_GONE
    if through is None:
        if not print_whole(json.dumps(outcome_report.as_json(outcome))):
            return READER_GONE
    else:
        for note in outcome_report.notes(outcome):
            _say(note)
        if through.dropped:
            _say(f"{through.dropped} bytes of its output found no reader in time")
    return outcome_report.command_code(outcome)


def _run(plan: Plan, through: StreamThrough | None) -> "Outcome":
    on_output = through.write if through else None
    if plan.level in (Level.STRICT, Level.NETWORK):
        return _run_synchronously(plan, on_output)
    return _run_with_trio(plan, through)


def _run_synchronously(plan: Plan, on_output: "OnOutput | None") -> "Outcome":
    from lattice_agent.exec.client import SandboxClient
    from lattice_agent.exec.outcome import Kind, Outcome, failed_to_start

    assert plan.profile is not None
    try:
        client = SandboxClient(plan.profile, keep=0)
    except SandboxError as error:
        raise ExecError(str(error), hint=error.hint(), code=SANDBOX_FAILED) from error
    with client:
        try:
            return client.run_plan(plan, on_output)
        except SpawnerGoneError as error:
            return Outcome(Kind.INTERRUPTED, plan.level, message=str(error))
        except (SandboxError, OSError) as error:
            return failed_to_start(plan.level, str(error))


def _run_with_trio(plan: Plan, through: StreamThrough | None) -> "Outcome":
    from lattice_agent.exec.launch import start_spawner

    try:
        spawner = start_spawner()  # it comes up while the rest is imported
    except SandboxError as error:
        raise ExecError(str(error), hint=error.hint(), code=SANDBOX_FAILED) from error

    from lattice_agent.cli.interrupts import run_interruptible
    from lattice_agent.exec.runner import open_runner

    async def conduct() -> "Outcome":
        async with open_runner(spawner) as runner:
            return await runner.run(plan, through.write if through else None)

    return run_interruptible(conduct)


def _explain(plan: Plan, *, as_json: bool) -> int:
    from lattice_agent.exec.explain import explain_limits, explain_steps

    steps, limits = explain_steps(plan), explain_limits(plan)
    told = outcome_report.explanation(plan, steps, limits)
    print_whole(json.dumps(told, indent=2) if as_json else outcome_report.explanation_text(plan, steps, limits))
    return os.EX_OK


def _text(flags: Mapping[str, FlagValue], name: str) -> str:
    value = flags.get(name, "")
    assert isinstance(value, str)
    return value


def _say(text: str) -> None:
    from lattice_agent.logs import clean

    print(clean(f"{PROGRAM}: {text}"), file=sys.stderr)
