"""POST /api/agent/proxy-usage (protocol reference 5.1), and our ledger reports."""

from typing import Annotated, Final

from pydantic import Field

from lattice_agent.wire.base import OMIT, Int, Time, Uint, WireModel


class UsageSnapshot(WireModel):
    """Cumulative bytes (up and down) per user since the start of the proxy core.

    ``user_bytes`` is ``None`` (written as null) in a health-only report.
    """

    node_id: str = ""
    at: Time = None
    core_uptime_sec: Uint = 0
    user_bytes: dict[str, Int] | None = None
    line_user_bytes: Annotated[dict[str, dict[str, Int] | None], OMIT] = {}
    collector_source: Annotated[str, OMIT] = ""
    collector_status: Annotated[str, OMIT] = ""
    collector_error: Annotated[str, OMIT] = ""
    collector_checked_at: Time = None


class UsageReport(WireModel):
    """The request body around one snapshot."""

    node_id: str = ""
    snapshot: UsageSnapshot = UsageSnapshot()


class UsageAnswer(WireModel):
    """What the server did with a report."""

    bytes_delta: Int = 0
    users_updated: Int = 0
    users_ignored: Int = 0
    alerts_fired: Int = 0
    collector_source: Annotated[str, OMIT] = ""
    collector_status: Annotated[str, OMIT] = ""


MAX_LEDGER_IDS: Final = 4_096
"""User ids in one ledger report, as in a snapshot."""
LEDGER_PATH: Final = "/api/agent/usage-ledger"


class UsageLedger(WireModel):
    """Totals of a ledger: bytes of each user since the ledger began, up and down together. They never fall.

    ``id`` names the ledger: 32 hex digits, made by chance when it began. ``seq`` grows with every report of it, also
    over restarts of the agent. An id that a report leaves out keeps its total.
    """

    id: str = ""
    seq: Uint = 0
    totals: Annotated[dict[str, Uint], Field(max_length=MAX_LEDGER_IDS)] = {}


class LedgerReport(WireModel):
    """POST /api/agent/usage-ledger (docs/protocol.md, ``usage.ledger``). The collector's fields are as in a snapshot.

    ``ledger`` is ``None`` when only the collector's health is told.
    """

    node_id: str = ""
    at: Time = None
    ledger: Annotated[UsageLedger | None, OMIT] = None
    collector_source: Annotated[str, OMIT] = ""
    collector_status: Annotated[str, OMIT] = ""
    collector_error: Annotated[str, OMIT] = ""
    collector_checked_at: Time = None
