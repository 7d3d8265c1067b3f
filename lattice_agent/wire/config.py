"""GET /api/agent/config (protocol reference 1.4)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Items, Time, WireModel
from lattice_agent.wire.ext import Announcement


class DebugConfig(WireModel):
    """Whether debug lines are wanted, and their bounds (bytes of a line, lines of a batch)."""

    enabled: bool = False
    collect: bool = False
    max_line_bytes: Int = 0
    max_batch_lines: Int = 0


class IpConfig(WireModel):
    """A server-side override of how the node learns its public addresses; unknown modes behave like ``auto``."""

    mode: str = ""
    static_ipv4: Annotated[str, OMIT] = ""
    static_ipv6: Annotated[str, OMIT] = ""
    resolvers: Annotated[Items[str], OMIT] = ()
    script: Annotated[str, OMIT] = ""
    script_sha256: Annotated[str, OMIT] = ""
    updated_at: Time = None


class AgentConfig(WireModel):
    """The whole answer. Absence of an override restores the start-up flags."""

    debug: DebugConfig = DebugConfig()
    terminal_transport: Annotated[str, OMIT] = ""
    ip_config: Annotated[IpConfig | None, OMIT] = None
    lattice_identity_uuid: Annotated[str, OMIT] = ""
    lattice_ext: Annotated[Announcement | None, OMIT] = None
