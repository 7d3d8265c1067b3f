"""``policy check FILE`` and ``policy explain FILE``: what a local policy says, before an agent starts with it.

``explain`` asks the very functions that decide on tasks. It needs no root, no network and no running agent; what it
cannot know of the node (which levels are reached, who the agent runs as) it assumes, says so, and takes from flags.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lattice_agent.cli import explanation
from lattice_agent.cli.goflags import Flag, FlagError, FlagKind, FlagValue, HelpRequested, parse, usage
from lattice_agent.config import read_policy
from lattice_agent.config.file import parse_toml
from lattice_agent.config.trust import MAX_FILE_BYTES, read_file
from lattice_agent.errors import ConfigError, LatticeError
from lattice_agent.exec.host import find_confined_interpreters, find_interpreters
from lattice_agent.exec.host_state import HostState
from lattice_agent.exec.level_choice import LEVEL_NAMES, with_min_level
from lattice_agent.exec.local_policy import INTERPRETERS, LocalPolicy
from lattice_agent.exec.plan import Level
from lattice_agent.exec.policy import MAX_SCRIPT_BYTES
from lattice_agent.exec.policy_file import examine_policy
from lattice_agent.exec.policy_values import nearest
from lattice_agent.logs import clean

EXIT_PROBLEMS: Final = 1
PROGRAM: Final = "lattice-agent policy check|explain FILE"
_EXPLAIN_FLAGS: Final = (
    Flag("interpreter", FlagKind.STRING, "Only this interpreter: sh, bash, python3 or node."),
    Flag("level", FlagKind.STRING, "Only this level."),
    Flag("script", FlagKind.STRING, "Also the decision on the script in this file."),
    Flag("json", FlagKind.BOOL, "Print JSON."),
    Flag("allow-root-exec", FlagKind.BOOL, "Assume that the agent runs with -allow-root-exec=true."),
    Flag("min-level", FlagKind.STRING, "Assume that the agent runs with this -min-level."),
    Flag("uid", FlagKind.INT, "Assume that the agent runs as this uid; unset: as the one who asks."),
    Flag("reached", FlagKind.STRING, "Assume that the node reaches these levels, separated by commas; unset: all."),
)


def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Exit 0 if the agent would take the file, 1 if not. Raises FlagError (exit 2) for a call that makes no sense."""
    command, rest = (words[0], words[1:]) if words else ("", ())
    try:
        if command == "check":
            path, _ = _call((), rest)
            return _check(path)
        if command == "explain":
            path, flags = _call(_EXPLAIN_FLAGS, rest)
            return _explain(path, flags, environ)
        parse({}, words[:1])  # -h, or a flag that is none
    except HelpRequested:
        sys.stderr.write(usage(PROGRAM, {flag.name: flag for flag in _EXPLAIN_FLAGS}))
        return os.EX_OK
    raise FlagError(f"policy {command or '(nothing)'} is no command", hint=f"it is {PROGRAM}")


def _call(flags: Sequence[Flag], words: Sequence[str]) -> tuple[Path, Mapping[str, FlagValue]]:
    """The one file, and the flags before and after it."""
    known = {flag.name: flag for flag in flags}
    values: dict[str, FlagValue] = {}
    files: list[str] = []
    while words:
        parsed = parse(known, words)
        values |= parsed.values
        files += parsed.rest[:1]
        words = parsed.rest[1:]
    if len(files) != 1:
        raise FlagError(f"one policy file is expected, not {len(files)}", hint=f"it is {PROGRAM}")
    return Path(files[0]), values


# --- check -----------------------------------------------------------------------------------------------------------


def _check(path: Path) -> int:
    policy, problems = _examine(path)
    for problem in problems:
        print(_line(f"{path}: error: {problem}; {problem.hint()}"))
    if problems or policy is None:
        return EXIT_PROBLEMS
    for warning in _absent(policy):
        print(_line(f"{path}: warning: {warning}"))
    print(_line(f"{path}: ok"))
    return os.EX_OK


def _line(text: str) -> str:
    """On one line: a key of the file can hold anything."""
    return clean(text).replace("\n", "\\n")


def _examine(path: Path) -> tuple[LocalPolicy | None, list[LatticeError]]:
    """The policy, if there is one in the file, and every reason for which an agent would not take it."""
    problems: list[LatticeError] = []
    try:
        document = read_policy(path)
    except ConfigError as refused:
        problems.append(refused)
        try:  # the same without the question who wrote it, so that the rest is named as well
            document = parse_toml(read_file(path, limit=MAX_FILE_BYTES, euid=os.geteuid()).content, path)
        except ConfigError as unreadable:
            if str(unreadable) not in str(refused):
                problems.append(unreadable)
            return None, problems
    policy, found = examine_policy(document)
    return (None if found else policy), [*problems, *found]


def _absent(policy: LocalPolicy) -> list[str]:
    """What the policy names and this machine does not have; it may be meant for another one."""
    absent = []
    for level, rule in policy.levels.items():
        work_disk = (rule.work_disk,) if rule.work_disk else ()
        for key, names in (("read_only", rule.read_only), ("writable", rule.writable), ("work_disk", work_disk)):
            absent += [f"levels.{level}.{key}: {name} is not on this machine" for name in names if not _exists(name)]
    here, inside = find_interpreters("", policy), find_confined_interpreters(policy)
    for name, interpreter in policy.interpreters.items():
        if interpreter.path and interpreter.allowed:
            what = f"interpreters.{name}.path: {interpreter.path}"
            if name not in here:
                absent.append(f"{what} is not an executable file on this machine")
                continue
            levels = [level.value for level in inside if name not in inside[level]]
            if levels:
                absent.append(f"{what} is not to be seen inside cells of {', '.join(levels)}")
    return absent


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except PermissionError:
        return True  # it may be; who asks is not who will run


# --- explain ---------------------------------------------------------------------------------------------------------


def _explain(path: Path, flags: Mapping[str, FlagValue], environ: Mapping[str, str]) -> int:
    interpreters = _chosen("interpreter", flags, INTERPRETERS)
    levels = [Level(name) for name in _chosen("level", flags, LEVEL_NAMES)]
    reached = _reached(flags)
    script = _script(flags)
    _chosen("min-level", flags, LEVEL_NAMES)
    policy, problems = _examine(path)
    for problem in problems:
        print(_line(f"{path}: an agent would not take this file: {problem}; {problem.hint()}"), file=sys.stderr)
    if policy is None:
        return EXIT_PROBLEMS
    policy = with_min_level(policy, _text(flags, "min-level"))
    host = _host(policy, flags, reached, environ)
    told = explanation.explain(policy, host, interpreters, levels, script)
    told = {"policy": str(path), "reached_is_assumed": "reached" not in flags, **told}
    print(json.dumps(told, indent=2) if flags.get("json") else clean(explanation.as_text(told)))
    return EXIT_PROBLEMS if problems else os.EX_OK


def _chosen(flag: str, flags: Mapping[str, FlagValue], names: Sequence[str]) -> Sequence[str]:
    word = _text(flags, flag)
    if word:
        _check_word(flag, word, names)
    return (word,) if word else names


def _reached(flags: Mapping[str, FlagValue]) -> frozenset[Level]:
    words = [word.strip() for word in _text(flags, "reached").split(",") if word.strip()] or LEVEL_NAMES
    for word in words:
        _check_word("reached", word, LEVEL_NAMES)
    return frozenset(map(Level, words)) | {Level.HOST}


def _check_word(flag: str, word: str, names: Sequence[str]) -> None:
    if word not in names:
        raise FlagError(
            f"-{flag} is {word!r}, not one of {', '.join(names)}", hint=f"the nearest is {nearest(word, names)}"
        )


def _script(flags: Mapping[str, FlagValue]) -> str | None:
    name = _text(flags, "script")
    if not name:
        return None
    path = Path(name)
    # One byte more than a script may have: then the decision says that it is too long.
    content = read_file(path, limit=MAX_SCRIPT_BYTES + 1, euid=os.geteuid()).content
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", hint="a control plane sends scripts as text") from None


def _host(
    policy: LocalPolicy, flags: Mapping[str, FlagValue], reached: frozenset[Level], environ: Mapping[str, str]
) -> HostState:
    """The node as far as it can be seen from here, the rest as assumed."""
    uid = flags.get("uid", os.geteuid())
    assert isinstance(uid, int)
    return HostState(
        allow_exec=True,
        allow_root_exec=flags.get("allow-root-exec") is True,
        no_exec=False,
        uid=uid,
        interpreters=find_interpreters(environ.get("PATH", os.defpath), policy),
        agent_bin="lattice-agent",
        work_root=None,
        uid_threads=None,
        reached=reached,
        confined_interpreters=find_confined_interpreters(policy),
    )


def _text(flags: Mapping[str, FlagValue], name: str) -> str:
    value = flags.get(name, "")
    assert isinstance(value, str)
    return value
