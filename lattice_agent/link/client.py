"""The one HTTP client of the agent.

Theory of operation. An exchange passes four gates in this order, and each bounds something:

1. *A seat.* Ordinary requests share six seats, the pool has nine connections: an urgent request (the heartbeat)
   always finds a connection, even if six others hang until their deadline. The ninth is the control stream's.
2. *A turn.* ``pacing.Pacer`` keeps the agent under the server's rate; the urgent lane goes first.
3. *The deadline.* It starts when the turn has come (waiting for our own pace is no failure of the server) and covers
   name lookup, connection, TLS, request, and the answer to its last byte, so that a peer which sends a byte now and
   then cannot hold the exchange; the phase timeouts only find a dead peer sooner.
4. *The answer's rules.* A redirect is refused in a response hook, before httpx builds the request that would follow it;
   a coded body is refused before its first byte is read; the raw bytes are counted while they arrive.

The wait at the first two gates is bounded by the callers: services, each with one request at a time.

Errors leave as LinkError only, and without a chain: frames of the libraries below hold the request and with it the
token, and a log that shows local variables must not find them. One exchange is one attempt; the caller backs off.
"""

import http.cookiejar
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import httpx
import trio

from lattice_agent import __version__
from lattice_agent.errors import ConfigError, LinkError
from lattice_agent.link.answer import Answer
from lattice_agent.link.errors import (
    AnswerTooLargeError,
    CodedAnswerError,
    DeadlineError,
    RedirectRefusedError,
    UnreachableError,
)
from lattice_agent.link.failures import FOREIGN, explain, printable
from lattice_agent.link.lean_import import load_httpcore_without_h2
from lattice_agent.link.pacing import Pacer
from lattice_agent.link.settings import LinkSettings
from lattice_agent.link.tls import bare_context, control_plane_context
from lattice_agent.link.transport_policy import Endpoint, judge_base_url
from lattice_agent.secret import Secret

__all__ = ["DEFAULT_ANSWER_LIMIT", "Answer", "ControlPlane"]

_log = logging.getLogger(__name__)

load_httpcore_without_h2()
for _library in ("httpx", "httpcore"):
    # One line per request is noise, and the debug lines quote what the peer sent, which an echo makes our token.
    logging.getLogger(_library).setLevel(logging.WARNING)

DEFAULT_ANSWER_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one answer. A poll of three tasks with scripts of the largest size is about 1 MiB."""

_CONNECTIONS: Final = 9
_ORDINARY_SEATS: Final = 6  # two connections stay free for urgent requests, one for the control stream
_KEEP_IDLE_S: Final = 60.0  # half of the server's 120 s, so that we close first and never write into a closing one

T = TypeVar("T")


class ControlPlane:
    """The way to the control plane; use as ``async with ControlPlane(settings, token) as plane``.

    ``token`` None sends no credentials (the self-check). ``transport`` replaces the network, for a server in the same
    process. Raises ConfigError (TransportRefusedError for a cleartext URL) before any socket is opened.
    """

    def __init__(
        self, settings: LinkSettings, token: Secret | None, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._token = token
        self.endpoint: Final = judge_base_url(settings.base_url, allow_insecure_http=settings.allow_insecure_http)
        _check_token(token)
        self._client = _build_client(settings, self.endpoint, transport)
        self._pacer = Pacer(settings.requests_per_s)
        self._seats = trio.CapacityLimiter(_ORDINARY_SEATS)
        if self.endpoint.warning is not None:
            _log.warning("%s", self.endpoint.warning)

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        answer_limit: int = DEFAULT_ANSWER_LIMIT,
        urgent: bool = False,
    ) -> Answer:
        """One GET; ``node_id`` and ``params`` go percent-encoded into the query.

        Returns an answer of any status but 3xx. Raises UnreachableError (with DeadlineError and PinMismatchError) if
        none came and BadAnswerError if it cannot be used. Cancelling closes the connection.
        """
        return await self._exchange("GET", self._with_query(path, params or {}), None, answer_limit, urgent)

    async def post(
        self, path: str, body: bytes, *, answer_limit: int = DEFAULT_ANSWER_LIMIT, urgent: bool = False
    ) -> Answer:
        """One POST of a JSON body. Returns and raises as ``get`` does.

        After an error the server may or may not have acted on it.
        """
        return await self._exchange("POST", path, body, answer_limit, urgent)

    async def upgrade(self, path: str, headers: Mapping[str, str]) -> httpx.Response | Answer:
        """One GET that asks to speak another protocol on its connection; query, errors and deadline as in ``get``.

        Returns the open response of status 101, for the caller to close (its stream is the extension
        ``network_stream``), or the answer that came instead. One at a time: there is one connection for it.
        """
        await self._pacer.turn()
        target = self._with_query(path, {})
        return await self._within_deadline("GET", target, partial(self._send_upgrade, target, headers))

    def shown(self, text: str) -> str:
        """Words of the peer, fit for a message: it can send back what it was sent, the token too."""
        return printable(text if self._token is None else text.replace(self._token.reveal(), "***"))

    def set_rate(self, requests_per_s: float) -> None:
        """Change the pace from now on, for those who wait as well."""
        self._pacer.set_rate(requests_per_s)

    async def aclose(self) -> None:
        """Close every connection. No request may be under way, and none be made afterwards."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<ControlPlane {self.endpoint.base_url} node={self._settings.node_id!r}>"

    async def _exchange(self, method: str, target: str, body: bytes | None, limit: int, urgent: bool) -> Answer:
        send = partial(self._send, method, target, body, limit)
        if urgent:
            await self._pacer.turn(urgent=True)
            return await self._within_deadline(method, target, send)
        async with self._seats:
            await self._pacer.turn()
            return await self._within_deadline(method, target, send)

    async def _within_deadline(self, method: str, target: str, send: Callable[[], Awaitable[T]]) -> T:
        what = f"{method} {self.endpoint.base_url}{target.partition('?')[0]}"
        failure: LinkError = DeadlineError(f"{what}: not finished within {self._settings.exchange_deadline_s:g} s")
        with trio.move_on_after(self._settings.exchange_deadline_s):
            try:
                return await send()
            except LinkError as exc:
                failure = exc
            except FOREIGN as exc:
                failure = self._translated(exc, what)
        raise failure.with_traceback(None)  # outside the handlers, or the foreign error would become its context

    def _with_query(self, path: str, params: Mapping[str, str]) -> str:
        own = {"node_id": self._settings.node_id} if self._settings.node_id else {}
        query = urlencode({**own, **params}, quote_via=quote, safe="")
        return f"{path}?{query}" if query else path

    def _request(self, method: str, target: str, body: bytes | None) -> httpx.Request:
        request = self._client.build_request(method, self.endpoint.base_url + target, content=body)
        if body is not None:
            request.headers["Content-Type"] = "application/json"
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return request

    async def _send(self, method: str, target: str, body: bytes | None, limit: int) -> Answer:
        return await _read_answer(await self._client.send(self._request(method, target, body), stream=True), limit)

    async def _send_upgrade(self, target: str, headers: Mapping[str, str]) -> httpx.Response | Answer:
        request = self._request("GET", target, None)
        request.headers.update(headers)
        response = await self._client.send(request, stream=True)
        if response.status_code == httpx.codes.SWITCHING_PROTOCOLS:
            return response
        return await _read_answer(response, DEFAULT_ANSWER_LIMIT)

    def _translated(self, exc: BaseException, what: str) -> UnreachableError:
        """Our error for a foreign one; protocol errors quote the peer's words."""
        reason, clause = explain(exc)
        return UnreachableError(f"{what}: {self.shown(clause)}", reason=reason)


def _check_token(token: Secret | None) -> None:
    """Refuse here what a header cannot hold: further down the error message would quote the value."""
    if token is not None and not _fits_a_header(token.reveal()):
        raise ConfigError(
            "the node token is empty or holds a space or a character that is not printable ASCII",
            hint="copy the token again; it is 43 letters, digits, - and _",
        )


def _fits_a_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _build_client(
    settings: LinkSettings, endpoint: Endpoint, transport: httpx.AsyncBaseTransport | None
) -> httpx.AsyncClient:
    if endpoint.scheme == "https":
        context = control_plane_context(settings.ca_file, settings.pin_spki_sha256)
    elif settings.pin_spki_sha256:
        raise ConfigError("pin_spki_sha256 is set but the URL is http://: there is no key to check")
    else:
        context = bare_context()
    try:
        return httpx.AsyncClient(
            verify=context,
            transport=transport,
            # A proxy is for other machines. httpx, unlike the Go agent, would send even http://127.0.0.1 through it,
            # and so the token in the clear over the network.
            trust_env=not endpoint.loopback,
            headers={"User-Agent": f"lattice-agent/{__version__}", "Accept-Encoding": "identity"},
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            event_hooks={"response": [_refuse_redirect]},
            timeout=httpx.Timeout(
                connect=settings.connect_timeout_s,
                read=settings.read_timeout_s,
                write=settings.write_timeout_s,
                pool=None,  # never waited for: see the seats
            ),
            limits=httpx.Limits(
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEP_IDLE_S
            ),
        )
    except (ValueError, ImportError, httpx.InvalidURL):
        pass
    # Outside the handler: the foreign error quotes the proxy's URL, which may hold a password.
    raise ConfigError(
        "the proxy settings in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY cannot be used",
        hint="write a proxy as http://host:port; SOCKS proxies are not supported",
    )


async def _refuse_redirect(response: httpx.Response) -> None:
    if 300 <= response.status_code < 400:
        where = _shown_location(response.headers.get("location", ""))
        raise RedirectRefusedError(
            f"{response.request.method} {response.request.url.copy_with(query=None)}:"
            f" status {response.status_code} redirects to {where}; not followed"
        )


def _shown_location(location: str) -> str:
    """Scheme and host of a redirect's target; the rest may hold anything, credentials included."""
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
    except ValueError:
        return "an unreadable address"
    if not host:
        return "another path on the same host" if location else "nowhere"
    return printable(f"{parts.scheme}://{host}" if parts.scheme else host)


async def _read_answer(response: httpx.Response, limit: int) -> Answer:
    try:
        body = await _read_plain_body(response, limit)
    finally:
        await response.aclose()
    return Answer(response.status_code, MappingProxyType(dict(response.headers)), body)


async def _read_plain_body(response: httpx.Response, limit: int) -> bytes:
    """The raw body; the first read that passes ``limit`` bytes is the last one (a read is at most 64 KiB)."""
    what = f"{response.request.method} {response.request.url.copy_with(query=None)}"
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise CodedAnswerError(f"{what}: the answer has Content-Encoding {printable(coding)!r}, asked for identity")
    body = bytearray()
    with trio.CancelScope() as reading:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > limit:
                # Not break: httpx stacks six generators, and leaving the outer one strands the others half-run. The
                # cancellation meets the next read of the socket and unwinds them all.
                reading.cancel()
    if len(body) > limit:
        raise AnswerTooLargeError(f"{what}: the answer is longer than {limit} bytes")
    return bytes(body)
