"""Makes a raw reading fit for the control plane (pure; protocol reference 5.3).

Ids are trimmed and merged by addition. An id that the server would refuse is left out and named, because one of them
costs the whole report (5.4, 7; trap 12). An absurd value is an error of the source: the server has no guard against
overflow (5.5).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.reading import RawUsage

IDS_LIMIT: Final = 4096
"""User ids of a report, line ids of a report, and user ids over all its lines (protocol reference 5.4)."""

NAMED_LIMIT: Final = 1024
"""Ids that are named in the log as left out; beyond it further ones are left out silently, so that nothing grows."""

ABSURD_BYTES: Final = 2**53
"""Above it a counter is a fault: eight petabytes in one run of a core."""

LINE_ID_LIMIT: Final = 256
_USER_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters with legal ids and plausible values; ``left_out`` names the ids that were not legal, sorted."""

    user_bytes: Mapping[str, int]
    line_user_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    core_uptime_s: int = 0
    at: datetime | None = None
    left_out: tuple[str, ...] = ()
    is_live: bool = False


_NO_NAMES: Final[Mapping[str, str]] = {}


def normalise(raw: RawUsage, names: Mapping[str, str] = _NO_NAMES) -> Counters:
    """The counters of a reading; ``UsageSourceError`` if it cannot be reported as a whole.

    ``names`` gives ids of the source other ones (``[usage.ids]``).
    """
    left_out: set[str] = set()
    users = _legal(raw.user_bytes, "user_bytes", names, left_out)
    lines = {
        _line_id(line): _legal(counts, f"line_user_bytes[{line[:64]!r}]", names, left_out)
        for line, counts in raw.line_user_bytes.items()
    }
    if len(lines) != len(raw.line_user_bytes):
        raise UsageSourceError("line_user_bytes has two line ids that differ only in surrounding blanks")
    if not raw.user_bytes:
        users = _sums(lines.values())
    if raw.core_uptime_s > ABSURD_BYTES:
        raise _absurd(raw.core_uptime_s, "core_uptime_sec")
    return Counters(users, lines, raw.core_uptime_s, raw.at, tuple(sorted(left_out)), raw.is_live)


def _legal(counts: Mapping[str, int], place: str, names: Mapping[str, str], left_out: set[str]) -> dict[str, int]:
    is_legal = _USER_ID.fullmatch
    if not names and all(map(is_legal, counts)) and max(counts.values(), default=0) <= ABSURD_BYTES:
        return dict(counts)  # the usual case of thousands of users, without a step for each
    merged: dict[str, int] = {}
    for raw_id, count in counts.items():
        user = raw_id.strip()
        if names:
            user = names.get(user, user)
        if not is_legal(user):
            if not user:
                raise UsageSourceError(f"{place} has an empty user id")
            left_out.add(user)
            continue
        merged[user] = total = merged.get(user, 0) + count
        if total > ABSURD_BYTES:  # here, so that no place is put into words for each of thousands
            raise _absurd(total, f"{place}[{user!r}]")
    return merged


def _line_id(raw_id: str) -> str:
    line = raw_id.strip()
    if not line:
        raise UsageSourceError("line_user_bytes has an empty line id")
    if len(line.encode(errors="surrogatepass")) > LINE_ID_LIMIT or not line.isprintable():
        raise UsageSourceError(f"line id {line[:64]!r} is over {LINE_ID_LIMIT} bytes or has unprintable characters")
    return line


def _sums(lines: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counts in lines:
        for user, count in counts.items():
            sums[user] = sums.get(user, 0) + count
            if sums[user] > ABSURD_BYTES:
                raise _absurd(sums[user], f"the sum over lines of {user!r}")
    return sums


def _absurd(value: int, place: str) -> UsageSourceError:
    return UsageSourceError(f"{place} is {value}, above 2^53; that is no traffic counter")
