"""The outermost layer: every answer has a request id and the fixed headers, every failure the error envelope
(protocol reference 1.0)."""

import asyncio
import logging
from itertools import chain
from math import ceil
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lattice_agent.wire.envelope import ErrorDetail, ErrorEnvelope
from server_stub.api.answers import message
from server_stub.errors import Refused, StoreError, default_code
from server_stub.ids import new_request_id

_LOG: Final = logging.getLogger("lattice_control.http")
_REQUEST_ID: Final = "x-lattice-request-id"
_NOT_FOUND: Final = "404 page not found\n"
_GENERIC_MESSAGE: Final = "internal server error"
"""Of every 5xx: what went wrong inside is for the log."""


def error_answer(scope: Scope, status: int, code: str, text: str) -> Response:
    """The error envelope with the request's id."""
    detail = ErrorDetail(
        code=code, message=_GENERIC_MESSAGE if status >= 500 else text, request_id=scope["state"]["request_id"]
    )
    return message(ErrorEnvelope(error=detail), status=status)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own refusals: no such path is plain text as in the reference, no such method an envelope."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return PlainTextResponse(_NOT_FOUND, 404)
    text = "method not allowed" if error.status_code == 405 else error.detail
    answer = error_answer(request.scope, error.status_code, default_code(error.status_code), text)
    if error.status_code == 405:
        answer.headers["allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """Those of the path, of all its routes: the framework names only those of the first. A path with a place in it
    that would match as well is another one."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return set(chain.from_iterable(route.methods or () for route in found if route.path == found[0].path))


class Envelope:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except Refused as refusal:
            answer = error_answer(scope, refusal.status, refusal.code, refusal.message)
            if refusal.retry_after_s is not None:
                answer.headers["retry-after"] = str(ceil(refusal.retry_after_s))
            await exchange.refuse(answer, receive)
        except StoreError:  # told once by the plane, and not with every request
            await exchange.refuse(error_answer(scope, 500, "internal_error", ""), receive)
        except asyncio.CancelledError:
            # uvicorn's word for what is still unanswered some seconds after the signal to stop; nobody else cancels a
            # whole request. Raised on, it would be told as a fault, with a traceback and 500.
            if scope["type"] != "http" or exchange.started:
                raise
            await exchange.refuse(error_answer(scope, 503, default_code(503), ""), receive)
        except ClientDisconnect:
            _LOG.debug("client went away: %r", scope["path"])
        except Exception:  # noqa: BLE001  # the last resort: logged with its traceback, answered 500
            _LOG.exception("request %s failed: %r", exchange.request_id, scope["path"])
            await exchange.refuse(error_answer(scope, 500, "internal_error", ""), receive)


class _Exchange:
    """One request on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.request_id: Final = new_request_id()
        scope.setdefault("state", {})["request_id"] = self.request_id
        self._scope = scope
        self._send = send
        self.started = False

    async def send(self, outgoing: Message) -> None:
        if outgoing["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(raw=outgoing.setdefault("headers", []))
            headers[_REQUEST_ID] = self.request_id
            headers["x-content-type-options"] = "nosniff"
            headers["x-frame-options"] = "DENY"
        if outgoing["type"] == "websocket.http.response.start":
            # The ASGI server ends the connection; a client that is not told sends its next request into the end.
            headers["connection"] = "close"
        self.started = True
        await self._send(outgoing)

    async def refuse(self, answer: Response, receive: Receive) -> None:
        if self.started:  # too late for an envelope: the server closes the connection on a cut answer
            return
        await answer(self._scope, receive, self.send)
