"""GET /api/agent/tasks: leased work (protocol reference 2.3)."""

from lattice_agent.wire.base import Int, WireModel


class LeasedTask(WireModel):
    """One item of the poll's list. ``timeout_sec`` seconds, ``output_limit`` bytes per stream."""

    id: str = ""
    lease_id: str = ""
    interpreter: str = ""
    script: str = ""
    timeout_sec: Int = 0
    output_limit: Int = 0
