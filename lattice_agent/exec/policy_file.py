"""The policy file: from parsed TOML to ``LocalPolicy``, every key and value checked. Pure.

The format is described in docs/policy.md. Whoever reads the file (and checks that root owns it) is ``config``. Each
kind of table is a mapping from its keys to the check of their values; what is wrong is collected, so that ``policy
check`` can name all of it, and an agent that starts names the first.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from lattice_agent.errors import PolicyError
from lattice_agent.exec import local_policy
from lattice_agent.exec import policy_values as values
from lattice_agent.exec.level_choice import LEVEL_NAMES
from lattice_agent.exec.local_policy import (
    INTERPRETERS,
    Bounds,
    InterpreterRule,
    LevelRule,
    LocalPolicy,
    ScriptRule,
)
from lattice_agent.exec.plan import MIB, Level

T = TypeVar("T")
Check = Callable[[str, object], Any]
"""Of one value, given its dotted key; raises PolicyError."""

MAX_LINGER_S: Final = 3600.0
_MOST_BYTES: Final = 1 << 50


def _level(key: str, value: object) -> Level:
    return Level(values.one_of(LEVEL_NAMES)(key, value))


_BOUNDS: Final[Mapping[str, Check]] = {
    "max_timeout_s": values.whole(1, local_policy.MAX_TIMEOUT_S),
    "max_output_bytes": values.whole(1, local_policy.MAX_OUTPUT_BYTES),
    "memory_bytes": values.whole(16 * MIB, _MOST_BYTES),
    "processes": values.whole(1, 1_000_000),
    "cpu_percent": values.whole(1, 100_000),
    "file_bytes": values.whole(0, _MOST_BYTES),
    "data_bytes": values.whole(16 * MIB, _MOST_BYTES),
}
_TOP: Final[Mapping[str, Check]] = {
    "min_level": _level,
    "default_level": _level,
    "only_listed_scripts": values.switch,
    "host_linger_s": values.seconds(MAX_LINGER_S),
    "allow_agent_replacement": values.switch,
    "allow_supplementary_groups": values.switch,
    "limits": values.table,
    "levels": values.table,
    "interpreters": values.table,
    "scripts": values.tables,
}
_ANY_LEVEL: Final[Mapping[str, Check]] = {"allowed": values.switch, "environment": values.variables, **_BOUNDS}
_CELL: Final[Mapping[str, Check]] = {
    **_ANY_LEVEL,
    "read_only": values.granted_paths,
    "writable": values.granted_paths,
    "work_disk": values.directory,
}
_OWN_ROOT: Final[Mapping[str, Check]] = {
    **_CELL,
    "work_bytes": values.whole(MIB, _MOST_BYTES),
    "work_inodes": values.whole(16, 100_000_000),
}
_LEVELS: Final[Mapping[str, Mapping[str, Check]]] = {
    Level.STRICT: _OWN_ROOT,
    Level.NETWORK: _OWN_ROOT,
    Level.LANDLOCK: {**_CELL, "network": values.switch},
    Level.HOST: {key: check for key, check in _ANY_LEVEL.items() if key not in ("memory_bytes", "cpu_percent")},
}
"""A key that would have no effect at a level is not one of its keys: it would look like a protection."""
_INTERPRETER: Final[Mapping[str, Check]] = {"allowed": values.switch, "path": values.program, **_BOUNDS}
_SCRIPT: Final[Mapping[str, Check]] = {
    "sha256": values.sha256,
    "allowed": values.switch,
    "interpreter": values.one_of(INTERPRETERS),
    "level": _level,
    **_BOUNDS,
}


def parse_policy(data: Mapping[str, object]) -> LocalPolicy:
    """The policy in parsed TOML. Raises PolicyError that names the key, and the nearest valid one if it is unknown."""
    policy, problems = examine_policy(data)
    if problems:
        raise problems[0]
    return policy


def examine_policy(data: Mapping[str, object]) -> tuple[LocalPolicy, tuple[PolicyError, ...]]:
    """The policy as far as it is valid, and everything that is wrong with it."""
    problems: list[PolicyError] = []
    top = _read("", data, _TOP, problems)
    policy = LocalPolicy(
        from_file=True,
        bounds=_bounds(_read("limits.", top.pop("limits", {}), _BOUNDS, problems)),
        levels=_levels(top.pop("levels", {}), problems),
        interpreters=_interpreters(top.pop("interpreters", {}), problems),
        scripts=_scripts(top.pop("scripts", []), problems),
        **top,
    )
    return policy, (*problems, *_contradictions(policy))


def _levels(tables: Mapping[str, object], problems: list[PolicyError]) -> dict[Level, LevelRule]:
    found = {}
    for name, read in _named("levels", tables, _LEVELS, problems):
        bounds = _bounds(read)
        found[Level(name)] = LevelRule(bounds=bounds, **read)
    return found


def _interpreters(tables: Mapping[str, object], problems: list[PolicyError]) -> dict[str, InterpreterRule]:
    found = {}
    for name, read in _named("interpreters", tables, dict.fromkeys(INTERPRETERS, _INTERPRETER), problems):
        bounds = _bounds(read)
        found[name] = InterpreterRule(bounds=bounds, **read)
    return found


def _scripts(rows: list[object], problems: list[PolicyError]) -> dict[str, ScriptRule]:
    found: dict[str, ScriptRule] = {}
    for index, row in enumerate(rows):
        key = f"scripts[{index}]"
        table = _try(problems, values.table, key, row)
        if table is None:
            continue
        read = _read(f"{key}.", table, _SCRIPT, problems)
        digest = read.pop("sha256", None)
        if "sha256" not in table:
            problems.append(PolicyError(f"policy: {key}.sha256 must be there: it says which script the rule is for"))
        elif digest in found:
            problems.append(
                PolicyError(f"policy: {key}.sha256 must be the only rule for its script, not {digest!r} again")
            )
        elif digest is not None:
            bounds = _bounds(read)
            found[digest] = ScriptRule(bounds=bounds, **read)
    return found


def _contradictions(policy: LocalPolicy) -> Iterator[PolicyError]:
    """What is valid by itself and cannot be meant together."""
    lowest = policy.min_level or Level.STRICT
    if policy.default_level is not None and policy.default_level.strength < lowest.strength:
        yield PolicyError(
            f"policy: default_level must be at least min_level ({lowest}), not {policy.default_level.value!r}",
            hint=f'add min_level = "{policy.default_level}" if every task may run there',
        )
    off = {level for level, rule in policy.levels.items() if rule.allowed is False}
    if policy.default_level in off:
        yield _switched_off("default_level", policy.default_level)
    for digest, script in policy.scripts.items():
        if script.allowed and script.level in off:
            yield _switched_off(f"level of the script {digest}", script.level)
    for level, rule in policy.levels.items():
        for path in sorted({*rule.read_only} & {*rule.writable}):
            yield PolicyError(f"policy: levels.{level}.writable must be without {path!r}, which is in read_only too")


def _switched_off(what: str, level: Level) -> PolicyError:
    return PolicyError(f"policy: {what} must be a level that is not switched off (levels.{level}.allowed = false)")


def _named(
    key: str, tables: Mapping[str, object], known: Mapping[str, Mapping[str, Check]], problems: list[PolicyError]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and values of each table ``[key.NAME]``."""
    for name, value in tables.items():
        if name not in known:
            problems.append(_unknown(f"{key}.", name, known))
        elif (table := _try(problems, values.table, f"{key}.{name}", value)) is not None:
            yield name, _read(f"{key}.{name}.", table, known[name], problems)


def _read(
    prefix: str, table: Mapping[str, object], known: Mapping[str, Check], problems: list[PolicyError]
) -> dict[str, Any]:
    """The valid values of one table by key."""
    read = {}
    for key, value in table.items():
        if key not in known:
            problems.append(_unknown(prefix, key, known))
            continue
        checked = _try(problems, known[key], prefix + key, value)
        if checked is not None:
            read[key] = checked
    return read


def _try(problems: list[PolicyError], check: Callable[[str, object], T], key: str, value: object) -> T | None:
    try:
        return check(key, value)
    except PolicyError as error:
        problems.append(error)
        return None


def _bounds(read: dict[str, Any]) -> Bounds:
    """Takes the bounds out of the values of a table."""
    names = [field.name for field in dataclasses.fields(Bounds)]
    return Bounds(**{name: read.pop(name) for name in names if name in read})


def _unknown(prefix: str, key: str, known: Mapping[str, object]) -> PolicyError:
    return PolicyError(
        f"policy: unknown key {prefix}{key}; the nearest valid one is {prefix}{values.nearest(key, known)}",
        hint=f"valid here: {', '.join(known)}",
    )
