"""GET /api/health, /readyz and /api/version (protocol reference 1.14)."""

from typing import Annotated

from lattice_agent.wire.base import OMIT, WireModel


class Health(WireModel):
    status: str = ""


class Readiness(WireModel):
    status: str = ""
    checks: dict[str, str] = {}


class Version(WireModel):
    server_version: str = ""
    server_commit: str = ""
    server_date: str = ""
    dashboard_ref: Annotated[str, OMIT] = ""
    dashboard_built: Annotated[str, OMIT] = ""
    task_execution_disabled: Annotated[bool, OMIT] = False
