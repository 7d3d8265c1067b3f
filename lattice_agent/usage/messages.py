"""The bytes of usage reports, and what their answers say (pure; protocol reference 5.1, docs/protocol.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from lattice_agent.usage.ledger import LINE_SEPARATOR, line_of, user_of
from lattice_agent.wire.base import WireError, decode, encode
from lattice_agent.wire.envelope import ErrorEnvelope
from lattice_agent.wire.usage import LedgerReport, UsageAnswer, UsageLedger, UsageReport, UsageSnapshot

ERROR_LIMIT: Final = 512
"""Characters of ``collector_error`` that the server keeps."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Who speaks: the source's name on the wire, and when it was read well last (aware)."""

    source: str
    read_at: datetime


class Answered(Protocol):
    """An answer's body."""

    @property
    def body(self) -> bytes: ...


def values_report(node_id: str, values: Mapping[str, int], collector: Collector) -> bytes:
    """A report of values by key (``usage.ledger``). The uptime is always 0: it would be a second sign of restarts."""
    users, lines = dict(values), dict[str, dict[str, int] | None]()
    for key in [key for key in values if LINE_SEPARATOR in key]:
        line = line_of(key)
        lines[line] = {**(lines.get(line) or {}), user_of(key): users.pop(key)}
    snapshot = UsageSnapshot(
        node_id=node_id,
        at=collector.read_at,
        core_uptime_sec=0,
        user_bytes=users,
        line_user_bytes=lines,
        collector_source=collector.source,
        collector_status="ok",
        collector_checked_at=collector.read_at,
    )
    return encode(UsageReport(node_id=node_id, snapshot=snapshot))


def zero_report(node_id: str, collector: Collector) -> bytes:
    """The report that bills nothing and clears the server's snapshot."""
    return values_report(node_id, {}, collector)


def health_report(node_id: str, error: str, collector: Collector) -> bytes:
    """It carries no counter, so the server leaves its snapshot alone."""
    snapshot = UsageSnapshot(
        node_id=node_id,
        at=collector.read_at,
        core_uptime_sec=0,
        user_bytes=None,
        collector_source=collector.source,
        collector_status="error",
        collector_error=one_line(error)[:ERROR_LIMIT],
        collector_checked_at=collector.read_at,
    )
    return encode(UsageReport(node_id=node_id, snapshot=snapshot))


def ledger_report(node_id: str, ledger_id: str, seq: int, totals: Mapping[str, int], collector: Collector) -> bytes:
    """A ledger report; without totals one of health only."""
    report = LedgerReport(
        node_id=node_id,
        at=collector.read_at,
        ledger=UsageLedger(id=ledger_id, seq=seq, totals=dict(totals)) if totals else None,
        collector_source=collector.source,
        collector_status="ok",
        collector_checked_at=collector.read_at,
    )
    return encode(report)


def one_line(text: str) -> str:
    """Without control characters; never empty."""
    return "".join(char if char.isprintable() else " " for char in text).strip() or "unknown error"


def ignored_users(answer: Answered | None) -> int:
    """Users that the server did not bill; 1 when the answer does not say: then a zero report does no harm."""
    try:
        return decode(UsageAnswer, answer.body).users_ignored if answer is not None else 1
    except WireError:
        return 1


def says_no_profile(answer: Answered | None) -> bool:
    """Whether a refusal is ``proxy node profile <node> not found``: usage of the node is not counted at all."""
    try:
        message = decode(ErrorEnvelope, answer.body).error.message if answer is not None else ""
    except WireError:
        return False
    return message.startswith("proxy node profile ") and message.endswith(" not found")
