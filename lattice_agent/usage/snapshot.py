"""Builds the message out of what is to be reported (pure; protocol reference 5.1)."""

from datetime import datetime
from typing import Final

from lattice_agent.errors import UsageSourceError
from lattice_agent.usage.memory import UsageMemory
from lattice_agent.wire.base import BODY_LIMIT, encode
from lattice_agent.wire.usage import UsageSnapshot

ERROR_LIMIT: Final = 512
"""Characters of ``collector_error`` that the server keeps."""

_ENVELOPE: Final = 1024  # bytes of the request around a snapshot, generously


def ok_snapshot(
    memory: UsageMemory, *, node_id: str, collector_source: str, at: datetime, checked_at: datetime
) -> UsageSnapshot:
    """A snapshot of the values in ``memory``; ``UsageSourceError`` if the server could not take it for its size."""
    snapshot = UsageSnapshot(
        node_id=node_id,
        at=at,
        core_uptime_sec=memory.core_uptime_s,
        user_bytes=dict(memory.user_bytes),
        line_user_bytes={line: dict(users) for line, users in memory.line_user_bytes.items()},
        collector_source=collector_source,
        collector_status="ok",
        collector_checked_at=checked_at,
    )
    # 4,096 users alone stay below 0.6 MiB; only lines can make a report too long.
    if snapshot.line_user_bytes and len(encode(snapshot)) > BODY_LIMIT - _ENVELOPE:
        raise UsageSourceError(f"the report would be longer than {BODY_LIMIT} bytes; no part of it can be sent")
    return snapshot


def error_snapshot(error: str, *, node_id: str, collector_source: str, checked_at: datetime) -> UsageSnapshot:
    """A health-only report: it carries no counter, so the server leaves its baseline alone."""
    return UsageSnapshot(
        node_id=node_id,
        at=checked_at,
        core_uptime_sec=0,
        user_bytes=None,
        collector_source=collector_source,
        collector_status="error",
        collector_error=_one_line(error)[:ERROR_LIMIT],
        collector_checked_at=checked_at,
    )


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip() or "unknown error"
