"""POST /api/agent/proxy-usage (protocol reference 5.1)."""

from typing import Annotated

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
