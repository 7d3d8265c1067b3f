"""Interactive terminal: sessions, events, inputs, control frames (protocol reference 1.13)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, Int, Items, Time, Uint, WireModel


class TerminalSession(WireModel):
    id: str = ""
    node_id: str = ""
    actor_id: Annotated[str, OMIT] = ""
    token_id: Annotated[str, OMIT] = ""
    shell: Annotated[str, OMIT] = ""
    cols: Annotated[Int, OMIT] = 0
    rows: Annotated[Int, OMIT] = 0
    status: str = ""
    error: Annotated[str, OMIT] = ""
    bytes_in: Annotated[Uint, OMIT] = 0
    bytes_out: Annotated[Uint, OMIT] = 0
    created_at: Time = None
    opened_at: Time = None
    closed_at: Time = None
    last_seen: Time = None


class TerminalSessions(WireModel):
    """``sessions`` may be null (trap 2), which reads as none."""

    sessions: Items[TerminalSession] = ()


class TerminalEvent(WireModel):
    """``seq`` and ``created_at`` are assigned by the server; the agent sends their zero values."""

    seq: Uint = 0
    kind: str = ""
    data: Annotated[str, OMIT] = ""
    created_at: Time = None


class TerminalEvents(WireModel):
    node_id: str = ""
    status: Annotated[str, OMIT] = ""
    error: str = ""
    events: Annotated[Items[TerminalEvent], OMIT] = ()


class TerminalInput(WireModel):
    seq: Uint = 0
    kind: str = ""
    data: Annotated[str, OMIT] = ""
    cols: Annotated[Int, OMIT] = 0
    rows: Annotated[Int, OMIT] = 0
    created_at: Time = None


class TerminalInputs(WireModel):
    session: TerminalSession = TerminalSession()
    inputs: Items[TerminalInput] = ()


class ControlFrame(WireModel):
    """A frame of the control stream; the base wire knows ``terminal.open`` only."""

    type: str = ""
    session: Annotated[TerminalSession | None, OMIT] = None
