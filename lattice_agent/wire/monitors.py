"""GET /api/agent/monitors and POST /api/agent/monitor-result (protocol reference 1.7)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Items, Time, WireModel


class Monitor(WireModel):
    """A probe assigned to the node. ``interval_sec`` and ``timeout_sec`` in seconds."""

    id: str = ""
    name: str = ""
    type: str = ""
    target: str = ""
    interval_sec: Int = 0
    timeout_sec: Int = 0
    assign_all: bool = False
    node_ids: Annotated[Items[str], OMIT] = ()
    enabled: bool = False
    created_at: Time = None
    updated_at: Time = None


class MonitorResult(WireModel):
    """``latency_ms`` milliseconds of the whole probe, also on failure."""

    monitor_id: str = ""
    node_id: str = ""
    at: Time = None
    success: bool = False
    latency_ms: float = 0.0
    error: Annotated[str, OMIT] = ""


class MonitorReport(WireModel):
    node_id: str = ""
    result: MonitorResult = MonitorResult()
