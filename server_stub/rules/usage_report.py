"""Whether a usage report is acceptable, and what of it counts (protocol reference 5.4, steps 2, 3, 6 and 7).

One bad entry refuses the whole report, as in the reference. Not here yet: lines and the ``u_<hash>`` form of user
ids (step 4) come with their own issue; without lines every line is unknown, and such ids are those of strangers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lattice_agent.wire.usage import LedgerReport, UsageSnapshot
from server_stub.errors import Refused
from server_stub.times import in_utc

MAX_ENTRIES: Final = 4_096
MAX_COUNTER: Final = 2**63 - 1
MAX_ERROR_CHARACTERS: Final = 512
ID_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}"
_ID: Final = re.compile(ID_PATTERN)


@dataclass(frozen=True)
class Health:
    """How the node's collector fares."""

    source: str
    status: str
    error: str
    checked_at: datetime | None


@dataclass(frozen=True)
class UsageReport:
    """An acceptable report. ``counters`` is ``None`` when it speaks of the collector's health only."""

    at: datetime
    core_uptime_sec: int
    counters: Mapping[str, int] | None
    ignored: int
    """Entries of lines that nobody knows."""
    health: Health | None


def is_id(text: str) -> bool:
    """The pattern of user ids, node ids and collector sources: 1 to 128 characters, the first alphanumeric."""
    return _ID.fullmatch(text) is not None


def check_user_id(text: str) -> None:
    """``Refused`` 400 (step 7)."""
    if not is_id(text):
        raise Refused(400, f"invalid proxy user id {_quoted(text)}")


def check_report(snapshot: UsageSnapshot, now: datetime) -> UsageReport:
    """``Refused`` 400 with the reference's texts when anything in it is not acceptable."""
    health = collector_health(snapshot)
    at = in_utc(snapshot.at) or now
    given = snapshot.user_bytes or {}
    if health is not None and health.status == "error":
        if given:
            raise Refused(400, "collector error reports must not include user_bytes")
        return UsageReport(at, snapshot.core_uptime_sec, None, 0, health)
    if len(given) > MAX_ENTRIES:
        raise Refused(400, "user_bytes has too many entries")
    ignored = _count_unknown_lines(snapshot)
    return UsageReport(at, snapshot.core_uptime_sec, _counters(given), ignored, health)


def collector_health(report: UsageSnapshot | LedgerReport) -> Health | None:
    """What the collector's fields say, ``None`` if none is set. ``Refused`` 400 (step 2)."""
    source, status, error = report.collector_source, report.collector_status, report.collector_error
    if not (source or status or error or report.collector_checked_at):
        return None
    if source and not is_id(source):
        raise Refused(400, f"invalid collector_source {_quoted(source)}")
    if status not in ("", "ok", "error"):
        raise Refused(400, f"invalid collector_status {_quoted(status)}")
    text = "".join(c for c in error if c == "\t" or c.isprintable())[:MAX_ERROR_CHARACTERS]
    return Health(source, status or ("error" if text else "ok"), text, in_utc(report.collector_checked_at))


def _count_unknown_lines(snapshot: UsageSnapshot) -> int:
    lines = snapshot.line_user_bytes
    entries = sum(len(users or {}) for users in lines.values())
    if len(lines) > MAX_ENTRIES or entries > MAX_ENTRIES:
        raise Refused(400, "line_user_bytes has too many entries")
    for users in lines.values():
        _counters(users or {})
    return entries


def _counters(given: Mapping[str, int]) -> dict[str, int]:
    """Trimmed ids; two keys that trim to the same id are one user."""
    counters: dict[str, int] = {}
    for key, value in given.items():
        user = key.strip()
        check_user_id(user)
        if value < 0:
            raise Refused(400, f"proxy usage for {user} cannot be negative")
        counters[user] = min(counters.get(user, 0) + value, MAX_COUNTER)
    return counters


def _quoted(text: str) -> str:
    return json.dumps(text[:MAX_ERROR_CHARACTERS], ensure_ascii=False)
