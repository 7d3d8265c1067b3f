"""What a policy comes to: for each interpreter and level, for each script that has a rule, for one script at hand.

Every line is an answer of ``exec.policy``, to a task that wishes for the most there is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import LevelChoice, default_level, minimum, root_opt_in_warning
from lattice_agent.exec.local_policy import MAX_OUTPUT_BYTES, MAX_TIMEOUT_S, LocalPolicy
from lattice_agent.exec.plan import MIB, Level, Refusal, TaskRequest
from lattice_agent.exec.policy import Ask, Terms, agree, ask_of, decide, shares_uid

Told = dict[str, Any]
"""Plain values, as JSON has them."""

_NOT_LISTED: Final = "of any script without a rule"
_TASK: Final = ("explained", "explained")


def explain(
    policy: LocalPolicy,
    host: HostState,
    interpreters: Sequence[str],
    levels: Sequence[Level],
    script: str | None,
) -> Told:
    """The whole answer as plain values. ``script`` is the text of a script at hand."""
    default = default_level(policy, host)
    return {
        "uid": host.uid,
        "allow_root_exec": host.allow_root_exec,
        "reached": [level.value for level in reversed(Level) if level in host.reached],
        "min_level": minimum(policy, host).value,
        "default_level": default.level.value if isinstance(default, LevelChoice) else None,
        "default_because": default.because if isinstance(default, LevelChoice) else default.reason,
        "warning": root_opt_in_warning(policy, host),
        "tasks": [_of_level(name, level, policy, host) for name in interpreters for level in levels],
        "scripts": list(_of_rules(policy, host, interpreters)),
        "script": None if script is None else [_of_script(script, name, policy, host) for name in interpreters],
    }


def _of_level(interpreter: str, level: Level, policy: LocalPolicy, host: HostState) -> Told:
    """A task without a rule of its own that asks for this level."""
    ask = Ask(interpreter, _NOT_LISTED, level, MAX_TIMEOUT_S, MAX_OUTPUT_BYTES)
    return {"interpreter": interpreter, "level": level.value, **_answer(agree(ask, policy, host), host)}


def _of_rules(policy: LocalPolicy, host: HostState, interpreters: Iterable[str]) -> Iterator[Told]:
    """Each script that has a rule, where it does not ask for a level itself."""
    for digest, rule in policy.scripts.items():
        for name in interpreters:
            if rule.interpreter in (None, name):
                ask = Ask(name, digest, None, MAX_TIMEOUT_S, MAX_OUTPUT_BYTES)
                yield {"sha256": digest, "interpreter": name, **_answer(agree(ask, policy, host), host)}


def _of_script(script: str, interpreter: str, policy: LocalPolicy, host: HostState) -> Told:
    """The decision on one script, as the agent would make it."""
    request = TaskRequest(*_TASK, interpreter, script, MAX_TIMEOUT_S, MAX_OUTPUT_BYTES)
    decision = decide(request, policy, host)
    answer = decision if isinstance(decision, Refusal) else agree(ask_of(request), policy, host)
    return {"interpreter": interpreter, **_answer(answer, host)}


def _answer(answer: Terms | Refusal, host: HostState) -> Told:
    if isinstance(answer, Refusal):
        return {"runs": False, "kind": answer.kind.value, "because": answer.reason}
    level, limits, profile = answer.choice.level, answer.limits, answer.profile
    bounds = {
        "timeout_s": int(limits.wall_s),
        "output_bytes": limits.output_bytes,
        "memory_bytes": None if profile is None else limits.memory_bytes,
        "processes": limits.processes,
        "processes_are_above_those_of_the_uid": shares_uid(level, None if profile is None else profile.work_disk, host),
        "cpu_percent": limits.cpu_percent,
        "file_bytes": limits.file_bytes,
        "data_bytes": limits.data_bytes,
    }
    cell = None if profile is None else {
        "network": level is Level.NETWORK or profile.network,
        "read_only": list(profile.read_only),
        "writable": list(profile.writable),
        "work_bytes": None if level is Level.LANDLOCK or profile.work_disk else profile.work_bytes,
        "work_inodes": None if level is Level.LANDLOCK or profile.work_disk else profile.work_inodes,
        "work_disk": profile.work_disk,
    }  # fmt: skip
    return {
        "runs": True,
        "level": level.value,
        "because": answer.choice.because,
        "program": answer.interpreter_path,
        "limits": bounds,
        "cell": cell,
        "environment": list(answer.environment),
        "linger_s": answer.linger_s,
    }


def as_text(told: Mapping[str, Any]) -> str:
    """The same for a reader."""
    return "\n".join(_lines(told))


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    assumed = " (assumed; lattice-agent doctor finds out, --reached says so here)" if told["reached_is_assumed"] else ""
    yield f"policy   {told['policy']}"
    yield f"agent    uid {told['uid']}, -allow-exec=true, -allow-root-exec={str(told['allow_root_exec']).lower()}"
    yield f"reached  {', '.join(told['reached'])}{assumed}"
    yield f"minimum  {told['min_level']}"
    yield f"default  {told['default_level'] or 'refused'}: {told['default_because']}"
    if told["warning"]:
        yield f"warning  {told['warning']}"
    for row in told["tasks"]:
        yield ""
        yield from _row(f"{row['interpreter']} that asks for {row['level']}", row)
    for row in told["scripts"]:
        yield ""
        yield from _row(f"{row['interpreter']}, script {row['sha256']}", row)
    for row in told["script"] or ():
        yield ""
        yield from _row(f"{row['interpreter']}, the script given", row)


def _row(title: str, row: Mapping[str, Any]) -> Iterator[str]:
    if not row["runs"]:
        yield f"{title}: refused: {row['because']}"
        return
    yield f"{title}: runs at {row['level']}: {row['because']}"
    yield f"    program      {row['program']}"
    yield f"    limits       {', '.join(_limits(row['limits']))}"
    if row["cell"]:
        yield f"    cell         {', '.join(_cell(row['cell']))}"
    if row["environment"]:
        yield f"    environment  {', '.join(row['environment'])}"
    if row["linger_s"]:
        yield f"    linger       {row['linger_s']:g} s"


def _limits(limits: Mapping[str, Any]) -> Iterator[str]:
    yield f"{limits['timeout_s']} s"
    yield f"output {_bytes(limits['output_bytes'])} a stream"
    if limits["memory_bytes"] is not None:
        yield f"memory {_bytes(limits['memory_bytes'])}"
    above = " above those of the uid" if limits["processes_are_above_those_of_the_uid"] else ""
    yield f"{limits['processes']} processes{above}"
    if limits["cpu_percent"] is not None:
        yield f"{limits['cpu_percent']} % of a processor where a cgroup controller is delegated"
    yield f"files {_bytes(limits['file_bytes'])}"
    yield f"data {_bytes(limits['data_bytes'])}"


def _cell(cell: Mapping[str, Any]) -> Iterator[str]:
    yield "the host's network" if cell["network"] else "no network"
    if cell["work_bytes"] is not None:
        yield f"work directory of {_bytes(cell['work_bytes'])} and {cell['work_inodes']} inodes"
    if cell["work_disk"]:
        yield f"work directory below {cell['work_disk']}"
    for key, word in (("read_only", "read-only"), ("writable", "writable")):
        if cell[key]:
            yield f"{word} {' '.join(cell[key])}"


def _bytes(number: int) -> str:
    for unit, size in (("MiB", MIB), ("KiB", 1 << 10)):
        if number and number % size == 0:
            return f"{number // size} {unit}"
    return f"{number} bytes"
