"""GET /api/agent/log-sources and POST /api/agent/logs (protocol reference 1.8)."""

from lattice_agent.wire.base import Int, Items, Time, Uint, WireModel


class LogSource(WireModel):
    """A path that is not absolute is a pseudo source and no file (trap 13)."""

    id: str = ""
    name: str = ""
    node_id: str = ""
    path: str = ""
    enabled: bool = False
    max_line_bytes: Int = 0
    max_batch_lines: Int = 0
    created_at: Time = None
    updated_at: Time = None


class LogSources(WireModel):
    sources: Items[LogSource] = ()


class LogBatch(WireModel):
    """Offsets are bytes in the file as the agent counts them."""

    source_id: str = ""
    path: str = ""
    rot_id: str = ""
    first_off: Uint = 0
    last_off: Uint = 0
    dropped: Uint = 0
    lines: Items[str] = ()
    captured_at: Time = None


class LogReport(WireModel):
    node_id: str = ""
    batch: LogBatch = LogBatch()


class LogAnswer(WireModel):
    ok: bool = False
    accepted: Int = 0
    next_off: Uint = 0
