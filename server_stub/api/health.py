"""Health and versions: no credentials, no rate limit (protocol reference 1.14)."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lattice_agent.wire.health import Health, Readiness, Version
from server_stub.api.answers import message
from server_stub.api.plane import plane_of
from server_stub.errors import StoreError
from server_stub.store.base import Tables

_UNKNOWN: Final = "unknown"
_ANY_METHOD: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _own_version() -> str:
    try:
        return version("lattice-agent")
    except PackageNotFoundError:  # run from a source tree that was not installed
        return "dev"


SERVER_VERSION: Final = _own_version()


async def health(_request: Request) -> Response:
    return message(Health(status="ok"))


async def readyz(request: Request) -> Response:
    """Both checks are one here: audit and data are in the same database."""
    plane = plane_of(request)
    try:
        # While writes fail, only another one tells whether they still do: nobody else may be there to try.
        await (plane.read(_switch) if plane.health.works else plane.write(_switch_again))
    except StoreError:
        return message(Readiness(status="unavailable", checks={"store": "failed", "audit_wal": "failed"}), status=503)
    return message(Readiness(status="ok", checks={"store": "ok", "audit_wal": "ok"}))


async def show_version(request: Request) -> Response:
    disabled = await plane_of(request).read(_switch)
    return message(
        Version(
            server_version=SERVER_VERSION,
            server_commit=_UNKNOWN,
            server_date=_UNKNOWN,
            dashboard_ref=_UNKNOWN,
            task_execution_disabled=disabled,
        )
    )


def _switch(tables: Tables) -> bool:
    return tables.switches.task_execution_disabled()


def _switch_again(tables: Tables) -> None:
    tables.switches.set_task_execution_disabled(tables.switches.task_execution_disabled())


def routes() -> list[BaseRoute]:
    return [
        Route("/api/health", health, methods=_ANY_METHOD),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/api/version", show_version, methods=["GET"]),
    ]
