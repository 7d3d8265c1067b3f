"""``lattice-control serve``: the application on uvicorn (why uvicorn: docs/adr/0002-server-framework.md).

The listening socket is opened here, before anything else, so that a busy port or a refused address is known at once
and the port that the kernel chose can be announced. SIGTERM and SIGINT end the server in order: no new connections,
waiting requests are answered, running ones get a few seconds, the store is closed.
"""

import asyncio
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from server_stub import footprint
from server_stub.actions.tasks import set_kill_switch
from server_stub.app import build_app
from server_stub.bootstrap import write_init_token, write_private
from server_stub.bounded_http import BoundedHttp
from server_stub.clock import SystemClock
from server_stub.config import Settings
from server_stub.errors import SettingsError
from server_stub.rare_warnings import RareWarnings
from server_stub.runner import OneThread
from server_stub.store.base import Store
from server_stub.store.sqlite import SqliteStore
from server_stub.sweep import tend
from server_stub.websocket_protocol import BoundedWebSocket

Beside = Callable[[], Coroutine[Any, Any, None]]
_LOG: Final = logging.getLogger("lattice_control")
_BACKLOG: Final = 1_024
_CONNECTIONS: Final = 24_576
"""Connections at once, most of them idle agents with two each; beyond them uvicorn answers 503."""
_OTHER_FILES: Final = 64
_STOP_SECONDS: Final = 5
_KEEP_ALIVE_SECONDS: Final = 120
_PING_SECONDS: Final = 25
_PONG_SECONDS: Final = 75
_WEBSOCKET_BYTES: Final = 16_384


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. ``SettingsError`` and ``StoreError`` before anything is answered."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(RareWarnings())
    _raise_file_limit()
    with open_listener(settings) as listener:
        store = SqliteStore(settings.db_path, settings.limits)
        try:
            prepare(store, settings)
            app = build_app(store, SystemClock(), settings, OneThread(), OneThread())
            plane = app.state.plane
            footprint.settle()
            run(app, settings, listener, on_stop=plane.close, beside=partial(tend, plane))
        finally:
            store.close()


def _raise_file_limit() -> None:
    """Each agent keeps a connection open, and the usual soft limit is 1,024 files; the hard one is not touched."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _OTHER_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def prepare(store: Store, settings: Settings) -> None:
    """What the settings ask to be in the store before the first request."""
    if settings.init_token_file is not None and write_init_token(store, settings.init_token_file):
        _LOG.info("first operator token written to %s", settings.init_token_file)
    if settings.kill_switch:
        store.write(lambda tables: set_kill_switch(tables, "serve", True, datetime.now(UTC)))


def open_listener(settings: Settings) -> socket.socket:
    """The bound socket. ``SettingsError`` for cleartext beyond loopback, or an address that cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SettingsError(f"host {settings.host}: {error.strerror}") from error
    loopback = ip_address(str(address[0]).partition("%")[0]).is_loopback
    if not (loopback or settings.tls or settings.insecure_listen):
        raise SettingsError(
            f"host {settings.host} is not loopback and there is no TLS certificate: tokens would be readable",
            hint="give --tls-cert and --tls-key, or --allow-insecure-http if the network in between is trusted",
        )
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingsError(f"address {settings.host} port {settings.port}: {error.strerror}") from error
    return listener


def run(
    app: ASGIApp,
    settings: Settings,
    listener: socket.socket,
    on_stop: Callable[[], None],
    beside: Beside | None = None,
) -> None:
    """Answers requests until a signal; ``on_stop`` is called in the event loop when it has come. ``beside`` runs
    meanwhile, and is cancelled and awaited at the end."""
    try:
        config = _uvicorn_config(app, settings)
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"tls certificate {settings.tls_cert}: {error}") from error
    # uvicorn raises the signal again once it has stopped; by then it has done its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    server = _Server(config, lambda: _announce(settings, listener), on_stop, beside)
    server.run(sockets=[listener])


def _uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedHttp,
        ws=BoundedWebSocket,
        ws_max_size=_WEBSOCKET_BYTES,
        ws_per_message_deflate=False,  # its windows cost 300 KiB a stream, for frames that are short or random
        ws_ping_interval=_PING_SECONDS,
        ws_ping_timeout=_PONG_SECONDS,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # the rate limits count socket addresses
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready and when it begins to stop."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
        beside: Beside | None,
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._beside = beside
        self._running_beside: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._beside is not None:
            self._running_beside = self._loop.create_task(self._beside())
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._running_beside is not None:
            self._running_beside.cancel()
            with suppress(asyncio.CancelledError):
                await self._running_beside  # the store is closed next, so a transaction that has begun must end
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_stop)


def _announce(settings: Settings, listener: socket.socket) -> None:
    """The ready file, then one line on standard output: programs that start the server wait for either."""
    host, port = listener.getsockname()[:2]
    url = f"{'https' if settings.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    if settings.ready_file is not None:
        try:
            write_private(Path(settings.ready_file), url + "\n")
        except OSError as error:
            raise SettingsError(f"ready file {settings.ready_file}: {error.strerror}") from error
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A signal that has been acted on already."""
