"""POST /api/agent/event (protocol reference 1.10)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, WireModel


class AgentEvent(WireModel):
    """``ssh_login`` carries user, address and method; any other kind a message."""

    node_id: str = ""
    kind: str = ""
    user: Annotated[str, OMIT] = ""
    address: Annotated[str, OMIT] = ""
    method: Annotated[str, OMIT] = ""
    message: Annotated[str, OMIT] = ""
