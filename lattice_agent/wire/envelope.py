"""The error envelope and the plain acknowledgement (protocol reference 1.0)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, WireModel
from lattice_agent.wire.ext import Announcement


class ErrorDetail(WireModel):
    """``code`` is for machines, ``message`` for people."""

    code: str = ""
    message: str = ""
    request_id: str = ""


class ErrorEnvelope(WireModel):
    """Body of every answer that is not a success, but for unknown paths."""

    error: ErrorDetail = ErrorDetail()


class Ok(WireModel):
    """``{"ok": true}``; the answer to hello may announce extensions."""

    ok: bool = False
    lattice_ext: Annotated[Announcement | None, OMIT] = None
