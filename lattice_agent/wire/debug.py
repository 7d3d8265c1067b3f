"""POST /api/agent/debug-events (protocol reference 1.9)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Items, Time, WireModel


class DebugBatch(WireModel):
    node_id: str = ""
    lines: Items[str] = ()
    captured_at: Time = None


class DebugReport(WireModel):
    node_id: str = ""
    batch: DebugBatch = DebugBatch()


class DebugAnswer(WireModel):
    ok: bool = False
    accepted: Int = 0
    source_id: Annotated[str, OMIT] = ""
