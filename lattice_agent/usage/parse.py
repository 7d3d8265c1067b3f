"""Reads a usage document (pure): the three shapes of protocol reference 5.2.

A snapshot object, ``{"snapshot": {...}}``, or ``{"stat": [{"name", "value"}, ...]}`` as xray and sing-box print it.

Counters become money, so this reader is stricter than the JSON reader of the wire: a counter is a whole number
without fraction or exponent, a key occurs once, and a document that says of itself that it is an error is one. Every
refusal is a ``UsageSourceError`` that names the place; fields we do not use may hold anything.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, NoReturn

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.statistics import Stat, user_sums
from lattice_agent.wire.base import Time

DOCUMENT_LIMIT: Final = 1_048_576
"""Bytes of a usage document; a longer one is refused."""

_COUNTER_LIMIT: Final = 2**63 - 1
_SNAPSHOT_KEYS: Final = ("user_bytes", "line_user_bytes", "core_uptime_sec", "at")
_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}")
_TIME: Final[TypeAdapter[datetime | None]] = TypeAdapter(Time, config=ConfigDict(strict=True))
_SHOWN: Final = 64


class _Object(dict[str, object]):
    """A JSON object that remembers a key it was given twice, which a plain dict would settle silently."""

    repeated: str | None = None


def parse_usage(document: bytes) -> RawUsage:
    """The reading in a document of one of the three shapes."""
    if len(document) > DOCUMENT_LIMIT:
        raise UsageSourceError(f"the usage document is longer than {DOCUMENT_LIMIT} bytes")
    if not document.strip():
        raise UsageSourceError("the usage document is empty")
    top = _object(_decode(document), "the usage document")
    if any(key in top for key in _SNAPSHOT_KEYS):
        return _parse_snapshot(top)
    if "snapshot" in top:
        return _parse_snapshot(_object(top["snapshot"], "snapshot"))
    if "stat" in top:
        return RawUsage(user_bytes=user_sums(_stats(top["stat"])))
    raise UsageSourceError("the usage document has none of user_bytes, snapshot and stat")


def parse_statistics(document: bytes) -> list[Stat]:
    """What ``xray api statsquery`` printed; no statistic if that is nothing or an object without ``stat``."""
    if not document.strip():
        return []
    if len(document) > DOCUMENT_LIMIT:
        raise UsageSourceError(f"the statistics are longer than {DOCUMENT_LIMIT} bytes")
    return list(_stats(_object(_decode(document), "the statistics").get("stat")))


def _decode(document: bytes) -> object:
    try:
        return json.loads(
            document.decode("utf-8", "replace"), object_pairs_hook=_remember_repeats, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise UsageSourceError("the usage document is nested too deeply") from None
    except ValueError as error:  # syntax, or a number of thousands of digits
        raise UsageSourceError(f"the usage document is not valid JSON: {error}") from None


def _remember_repeats(pairs: list[tuple[str, object]]) -> _Object:
    made = _Object(pairs)
    if len(made) != len(pairs):
        made.repeated = _first_repeat(key for key, _ in pairs)
    return made


def _first_repeat(keys: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(value: object, place: str) -> _Object:
    if not isinstance(value, _Object):
        raise UsageSourceError(f"{place} is not an object")
    if value.repeated is not None:
        raise UsageSourceError(f"{place} has the key {_shown(value.repeated)} twice")
    return value


def _parse_snapshot(snapshot: _Object) -> RawUsage:
    _refuse_declared_error(snapshot)
    lines = _object_or_none(snapshot.get("line_user_bytes"), "line_user_bytes")
    return RawUsage(
        user_bytes=_parse_counters(snapshot.get("user_bytes"), "user_bytes"),
        line_user_bytes={
            line: _parse_counters(users, f"line_user_bytes[{_shown(line)}]") for line, users in lines.items()
        },
        core_uptime_s=_parse_uptime(snapshot.get("core_uptime_sec")),
        at=_parse_time(snapshot.get("at")),
    )


def _refuse_declared_error(snapshot: _Object) -> None:
    if snapshot.get("collector_status") == "error":
        raise UsageSourceError(f"the source reports an error: {_shown(snapshot.get('collector_error', ''))}")


def _object_or_none(value: object, place: str) -> _Object:
    return _Object() if value is None else _object(value, place)


def _parse_counters(value: object, place: str) -> dict[str, int]:
    counters: dict[str, int] = {}
    for user, count in _object_or_none(value, place).items():
        # The place is put into words for a counter that is none only: there are thousands.
        if type(count) is int and 0 <= count <= _COUNTER_LIMIT:
            counters[user] = count
        else:
            counters[user] = _parse_counter(count, f"{place}[{_shown(user)}]")
    return counters


def _parse_counter(value: object, place: str) -> int:
    if type(value) is not int:  # a bool is an int to isinstance
        raise UsageSourceError(f"{place} is not a whole number")
    if value < 0:
        raise UsageSourceError(f"{place} is negative")
    if value > _COUNTER_LIMIT:
        raise UsageSourceError(f"{place} is above 2^63-1")
    return value


def _parse_uptime(value: object) -> int:
    return 0 if value is None else _parse_counter(value, "core_uptime_sec")


def _parse_time(value: object) -> datetime | None:
    try:
        at = _TIME.validate_python(value)
        return at if at is None else at.astimezone(UTC)
    except (ValidationError, OverflowError):
        raise UsageSourceError(f"at is not a time with an offset: {_shown(value)}") from None


def _stats(value: object) -> Iterator[Stat]:
    if value is None:
        return
    if not isinstance(value, list):
        raise UsageSourceError("stat is not a list")
    for index, entry in enumerate(value):
        place = f"stat[{index}]"
        stat = _object(entry, place)
        name = stat.get("name")
        if not isinstance(name, str):
            raise UsageSourceError(f"{place}.name is not a string")
        # Protobuf's JSON leaves a zero out, and writes 64-bit numbers as strings.
        yield Stat(name, _parse_counter(_stat_value(stat.get("value", 0)), f"{place}.value"))


def _stat_value(value: object) -> object:
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
