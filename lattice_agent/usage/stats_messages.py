"""Messages of the StatsService of xray, v2ray and sing-box (pure; protocol reference 5.2).

QueryStatsRequest: 1 pattern (string), 2 reset (bool), 3 patterns (repeated string). QueryStatsResponse: 1 Stat
(repeated: 1 name, 2 value int64). SysStatsResponse: 10 Uptime (uint32 seconds).
"""

from collections.abc import Iterator
from typing import Final

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.protobuf import bool_field, fields, string_field
from lattice_agent.usage.statistics import Stat

STATS_LIMIT: Final = 32_768
"""Statistics of an answer: up and down of the 4,096 users of a report, four times."""

_FIELDS_LIMIT: Final = 64  # SysStatsResponse has ten
_STAT_FIELDS: Final = 4  # Stat has two

_COUNTER_LIMIT: Final = 2**63  # an int64 at or above it, read as a varint, is negative
_UPTIME_LIMIT: Final = 2**32


def query_request(pattern: str) -> bytes:
    """Asks for the statistics whose name holds ``pattern``, and resets none.

    The pattern goes out twice: v2ray 4 and xray know only field 1, v2ray 5 and sing-box the list in field 3.
    """
    return string_field(1, pattern) + bool_field(2, value=False) + string_field(3, pattern)


def query_answer(message: bytes) -> Iterator[Stat]:
    """The statistics of a QueryStatsResponse, one by one, so that the caller can pause: thousands take a while."""
    for number, value in fields(message, limit=STATS_LIMIT):
        if number == 1:
            yield _stat(_bytes(value, "a statistic"))


def uptime_answer(message: bytes) -> int:
    """The uptime of a SysStatsResponse in whole seconds, at least 1.

    A core younger than a second says 0, which in a reading would mean that it does not know.
    """
    uptime_s = 0
    for number, value in fields(message, limit=_FIELDS_LIMIT):
        if number == 10:
            uptime_s = _number(value, "the uptime")
    if uptime_s >= _UPTIME_LIMIT:
        raise UsageSourceError("the uptime is above 32 bits")
    return max(uptime_s, 1)


def _stat(message: bytes) -> Stat:
    name, count = "", 0  # protobuf leaves a zero out
    for number, value in fields(message, limit=_STAT_FIELDS):
        if number == 1:
            name = _text(_bytes(value, "the name of a statistic"))
        elif number == 2:
            count = _number(value, "the value of a statistic")
    if count >= _COUNTER_LIMIT:
        raise UsageSourceError(f"the statistic {name[:64]!r} is negative")
    return Stat(name, count)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageSourceError(f"the name of a statistic is not UTF-8: {content[:64]!r}") from None


def _bytes(value: int | bytes, what: str) -> bytes:
    if isinstance(value, int):
        raise UsageSourceError(f"{what} is a number")
    return value


def _number(value: int | bytes, what: str) -> int:
    if isinstance(value, bytes):
        raise UsageSourceError(f"{what} is not a number")
    return value
