"""The flag syntax of the Go agent's command line, as Go's package ``flag`` defines it. Pure.

``-x`` and ``--x`` are the same; values as ``-x v`` or ``-x=v``; booleans only as ``-x`` or ``-x=false``, never
``-x false``. Parsing ends at ``--`` or before the first word that is not a flag (``-`` alone is such a word). Of a
flag given twice the last one counts. Messages are Go's, so that scripts which look at them keep working.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from lattice_agent.config.golang import parse_bool, parse_duration, parse_int, quote
from lattice_agent.errors import UsageError

FlagValue = bool | int | float | str | tuple[str, ...]


class FlagKind(enum.Enum):
    """What a flag's value is; the enum's value is the word that the usage text shows."""

    BOOL = ""
    INT = "int"
    DURATION = "duration"
    STRING = "string"
    STRINGS = "value"
    """May be repeated, and the values are collected; Go has it as a user-defined flag."""


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One flag the program knows. ``default`` is shown in the usage text, "" shows nothing."""

    name: str
    kind: FlagKind
    usage: str
    default: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """The flags that were given, typed, and the words after them that no flag took."""

    values: Mapping[str, FlagValue]
    rest: tuple[str, ...]


class FlagError(UsageError):
    """The command line does not parse. Exit code 2, as the Go agent's; the usage text follows the message."""

    exit_code = 2


class HelpRequested(Exception):  # noqa: N818 - not an error: the answer to -h
    """``-h`` or ``-help`` was given."""


def parse(flags: Mapping[str, Flag], words: Sequence[str]) -> Parsed:
    """Parses the words after the program's name. Raises FlagError and HelpRequested."""
    values: dict[str, FlagValue] = {}
    position = 0
    while position < len(words):
        word = words[position]
        if len(word) < 2 or word[0] != "-":
            break
        position += 1
        if word == "--":
            break
        name, has_value, value = _split(word)
        flag = flags.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpRequested
            raise FlagError(f"flag provided but not defined: -{name}")
        if flag.kind is FlagKind.BOOL:
            values[name] = _bool(name, value) if has_value else True
            continue
        if not has_value:
            if position == len(words):
                raise FlagError(f"flag needs an argument: -{name}")
            value = words[position]
            position += 1
        values[name] = _value(flag, value, values.get(name))
    return Parsed(values, tuple(words[position:]))


def _split(word: str) -> tuple[str, bool, str]:
    body = word[2:] if word.startswith("--") else word[1:]
    if not body or body[0] in "-=":
        raise FlagError(f"bad flag syntax: {word.partition('=')[0]}")
    name, equals, value = body.partition("=")
    return name, bool(equals), value


def _bool(name: str, text: str) -> bool:
    try:
        return parse_bool(text)
    except ValueError as reason:
        raise FlagError(f"invalid boolean value {quote(text)} for -{name}: {reason}") from None


def _value(flag: Flag, text: str, before: FlagValue | None) -> FlagValue:
    try:
        if flag.kind is FlagKind.INT:
            return parse_int(text)
        if flag.kind is FlagKind.DURATION:
            return parse_duration(text)
    except ValueError as reason:
        raise FlagError(f"invalid value {quote(text)} for flag -{flag.name}: {reason}") from None
    if flag.kind is FlagKind.STRINGS:
        return (*before, text) if isinstance(before, tuple) else (text,)
    return text


def usage(program: str, flags: Mapping[str, Flag]) -> str:
    """The text Go prints for ``-h``: every flag by name, its kind of value, its meaning and its default."""
    lines = [f"Usage of {program}:"]
    for _, flag in sorted(flags.items()):
        default = f" (default {flag.default})" if flag.default else ""
        lines += [f"  -{flag.name} {flag.kind.value}".rstrip(), f"    \t{flag.usage}{default}"]
    return "\n".join(lines) + "\n"
