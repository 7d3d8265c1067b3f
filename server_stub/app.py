"""Composition root of the control plane's HTTP side."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from server_stub.api import agent, health, openapi, operator
from server_stub.api.agent_streams import AgentStreams
from server_stub.api.envelope import Envelope, answer_http_exception
from server_stub.api.live_output import LiveOutputs
from server_stub.api.plane import Plane, Rates, RunSync
from server_stub.api.watch import TaskWatch
from server_stub.clock import Clock
from server_stub.config import Settings
from server_stub.dashboard.routes import dashboard_routes
from server_stub.passwords import Passwords
from server_stub.store.base import Store


def build_app(
    store: Store, clock: Clock, settings: Settings, run_sync: RunSync, run_hash: RunSync | None = None
) -> Starlette:
    """An ASGI application over ``store``. Written against anyio: it runs under trio as well as asyncio.

    ``run_sync`` runs one synchronous function at a time, see ``server_stub.store.base``; ``run_hash`` does so for
    passwords, so that the store need not wait for them (None: the same one). ``app.state.plane`` is what the endpoints
    work with; it is closed by whoever stops the server, so that nobody goes on waiting.
    """
    limits = settings.limits
    watch = TaskWatch(limits.waiters, limits.viewers)
    app = Starlette(
        routes=[*agent.routes(), *operator.routes(), *health.routes(), *openapi.routes(), *dashboard_routes()],
        middleware=[Middleware(Envelope)],
        exception_handlers={HTTPException: answer_http_exception},
    )
    app.router.redirect_slashes = False  # a redirect would lose the body, and clients refuse redirects
    rates, streams, live = Rates.of(settings), AgentStreams(limits), LiveOutputs(limits)
    passwords = Passwords(run_hash or run_sync)
    app.state.plane = Plane(store, clock, settings, run_sync, rates, watch, streams, passwords, live)
    return app
