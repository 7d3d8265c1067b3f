"""One value from one place: what a flag, an environment variable or a TOML key gives, typed and checked.

Each source is first brought to a plain value of the option's kind (``Plain``), by its own rules; ``refine`` then
applies what holds for all sources. ``origin`` is how the operator knows the value: ``-interval``, ``LATTICE_SLOTS``,
``report.interval_s in /etc/agent.toml``. Errors name it; they never show the value of a secret.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

from lattice_agent.config.golang import FALSE_WORDS, format_seconds, parse_duration, quote
from lattice_agent.config.options import Kind, Option
from lattice_agent.errors import ConfigError
from lattice_agent.secret import Secret

Plain = bool | int | float | str | tuple[str, ...]
Value = Plain | Path | Secret | None


def from_environment(option: Option, environ: Mapping[str, str], warn: list[str]) -> tuple[Plain, str] | None:
    """Value and variable name, or None when the option's variable says nothing. Appends to ``warn``.

    A switch is on only if the variable is exactly ``1`` (protocol reference, section 6) and off if it is one of Go's
    words for false; any other word counts as not set, so that a misspelling overrules nothing.
    """
    text = environ.get(option.env, "")
    plain = _environment_value(option, option.env, text, warn) if text else None
    return None if plain is None else (plain, option.env)


def _environment_value(option: Option, name: str, text: str, warn: list[str]) -> Plain | None:
    if option.kind is Kind.SWITCH:
        if text == "1":
            return True
        if text in FALSE_WORDS:
            return False
        warn.append(f"{name} is {quote(text)}, which counts as not set: only 1 switches on")
        return None
    if option.kind not in (Kind.INTEGER, Kind.SECONDS):
        return text
    try:
        return _decimal(text) if option.kind is Kind.INTEGER else parse_duration(text)
    except ValueError:
        if option.bad_env_is_default:
            warn.append(f"{name} is {quote(text)}, which is not {_NOUNS[option.kind]}; the default is used")
            return None
        raise ConfigError(f"{name} is {quote(text)}; {_NOUNS[option.kind]} is expected") from None


def _decimal(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        raise ValueError(text)
    return int(text)


_NOUNS = {
    Kind.SWITCH: "true or false",
    Kind.TEXT: "a text",
    Kind.PATH: "a path",
    Kind.SECRET: "a text",
    Kind.INTEGER: "a whole number",
    Kind.SECONDS: "a duration such as 10s or 1m30s",
    Kind.LIST: "a list of texts",
    Kind.TABLE: "a table of texts",
}


def from_toml(option: Option, value: object, origin: str) -> Plain:
    """The value of a TOML key if it has the type of the option; durations are numbers of seconds there."""
    if option.kind is Kind.LIST:
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
    elif option.kind is Kind.TABLE:
        if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()):
            return tuple(f"{name}={other}" for name, other in value.items())
    elif option.kind is Kind.SECONDS:
        if isinstance(value, float) or _is_int64(value):
            return float(value)
    elif option.kind is Kind.INTEGER:
        if _is_int64(value):
            return value
    elif isinstance(value, bool if option.kind is Kind.SWITCH else str):
        return value
    expected = "a number of seconds" if option.kind is Kind.SECONDS else _NOUNS[option.kind]
    shown = "" if option.kind is Kind.SECRET else f" {_shown(value)}"
    raise ConfigError(f"{origin} is{shown or ' of another type'}; {expected} is expected")


def _is_int64(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63


def _shown(value: object) -> str:
    """A TOML value in an error: short, on one line."""
    text = quote(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def refine(option: Option, plain: Plain, origin: str) -> Value:
    """The value as the settings class holds it. Raises ConfigError naming ``origin``."""
    if isinstance(plain, bool):
        return plain
    if isinstance(plain, int | float):
        _check_range(option, plain, origin)
        return plain
    if isinstance(plain, tuple):
        return _pairs(plain, origin) if option.kind is Kind.TABLE else _words(plain, origin)
    _check_text(plain, origin)
    if option.kind is Kind.TABLE:
        return _pairs(_words(tuple(plain.split(",")), origin), origin)
    if option.kind is Kind.LIST:
        return _words(tuple(plain.split(",")), origin)
    if option.kind is Kind.PATH:
        return Path(os.path.abspath(plain)) if plain else None  # resolve() would follow links
    if option.kind is Kind.SECRET:
        return Secret(plain.strip())
    return plain


def _words(words: tuple[str, ...], origin: str) -> tuple[str, ...]:
    for word in words:
        _check_text(word, origin)
    return tuple(word for part in words for word in map(str.strip, part.split(",")) if word)


def _pairs(words: tuple[str, ...], origin: str) -> tuple[str, ...]:
    for word in words:
        _check_text(word, origin)
        name, equals, other = word.rpartition("=")
        if not (equals and name.strip() and other.strip()):
            raise ConfigError(f"{origin}: {_shown(word)} does not give one name another", hint='it is "name" = "other"')
    return words


def _check_range(option: Option, number: float, origin: str) -> None:
    low = -math.inf if option.low is None else option.low
    high = math.inf if option.high is None else option.high
    if low <= number <= high:  # false for NaN
        return
    show = format_seconds if option.kind is Kind.SECONDS and math.isfinite(number) else "{:g}".format
    limit = format_seconds if option.kind is Kind.SECONDS else "{:g}".format
    raise ConfigError(
        f"{origin} is {show(number)}; it must be at least {limit(low)}"
        if number < low
        else f"{origin} is {show(number)}; it must be between {limit(low)} and {limit(high)}"
    )


def _check_text(text: str, origin: str) -> None:
    """Text that can be put into JSON, a header or a path. The text itself is not shown: it may be a secret."""
    if "\0" in text:
        raise ConfigError(f"{origin} holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{origin} is not valid UTF-8") from None
