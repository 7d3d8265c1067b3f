"""The operator API over HTTP: one request, one bounded answer, one kind of error for each thing to do next.

What is bounded: connecting, and every pause inside an exchange, by the phase timeouts; an exchange as a whole by
``EXCHANGE_S`` beyond the time the server was asked to wait (looked at after each piece of the body); the answer by
``ANSWER_LIMIT``. Nothing is asked twice: whether a request that got no answer was carried out is not known, and only
the caller can say if repeating it is harmless.

A stream of events goes on as long as the server has something to say, and is bounded by its caller's deadline, by
``SILENCE_S`` between two pieces, and by the size of one event.

Nothing from the environment takes part: a proxy or .netrc entry would be one more place the token goes to.
"""

import json
import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import httpx

from server_stub.cli.connection import Connection
from server_stub.cli.errors import AnswerError, TryLaterError, UnavailableError
from server_stub.cli.event_stream import OPENED, Event, EventParser
from server_stub.cli.refusal import refusal, repeated
from server_stub.errors import ControlError, SettingsError

CONNECT_S: Final = 10.0
QUIET_S: Final = 30.0
EXCHANGE_S: Final = 60.0
SILENCE_S: Final = 45.0
"""A stream of events has a sign of life every 15 s; after three that did not come the connection is taken for dead."""
ANSWER_LIMIT: Final = 64 * 2**20
"""Bytes. One node's result is at most 0.5 MiB of text, 3 MiB when all of it is escaped; a larger answer is an error."""

_PREFIX: Final = "/api/v1"

Path = tuple[str, ...]
"""Parts below the API's prefix, unquoted: ``("nodes", "n1", "rotate")``."""
Params = Mapping[str, str | int]
Answer = dict[str, object]


class OperatorApi:
    """A connection to one server; a context manager. Every method raises only ``ControlError``."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        self._http = httpx.Client(
            headers={
                "Authorization": f"Bearer {connection.token}",
                "Accept": "application/json",
                "Accept-Encoding": "identity",  # a coded body could grow beyond the limit while it is unpacked
                "User-Agent": "lattice-control",
            },
            verify=_tls_context(connection),
            trust_env=False,
            follow_redirects=False,
            # In a hook, because httpx works out where a redirect leads even if nobody follows it, and fails at some.
            event_hooks={"response": [_refuse_redirect]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    @property
    def server(self) -> str:
        """The base URL without the API's path."""
        return self._server

    def get(self, path: Path, params: Params | None = None, *, wait_s: int = 0) -> Answer:
        """The JSON object at ``path``. ``wait_s``: seconds the server is asked to hold the answer back."""
        asked = dict(params or {}) | ({"wait_s": wait_s} if wait_s else {})
        return self._exchange("GET", path, params=asked, body=None, wait_s=wait_s)

    def post(self, path: Path, body: Mapping[str, object]) -> Answer:
        """The answer to a JSON object."""
        return self._exchange("POST", path, params={}, body=body, wait_s=0)

    def put(self, path: Path, body: Mapping[str, object]) -> Answer:
        """The answer to a JSON object."""
        return self._exchange("PUT", path, params={}, body=body, wait_s=0)

    def listen(self, path: Path, params: Params, deadline: float) -> Generator[Event, None, None]:
        """``OPENED``, then events until the server closes the stream; close it to end it earlier.

        Raises ``TryLaterError`` when ``deadline`` (of ``monotonic``) has passed.
        """
        request = self._http.build_request(
            "GET",
            f"{self._server}{_PREFIX}/{_joined(path)}",
            params=params or None,
            headers={"Accept": "text/event-stream"},
            timeout=httpx.Timeout(QUIET_S, connect=CONNECT_S, read=SILENCE_S),
        )
        with self._answer(request) as response:
            if response.headers.get("content-type", "").partition(";")[0].strip() != "text/event-stream":
                _understood(response, _bounded_body(response, monotonic() + EXCHANGE_S))
                raise AnswerError("the answer is not a stream of events")
            yield Event(OPENED, "")
            parser = EventParser()
            for piece in response.iter_raw():
                yield from parser.feed(piece)
                if monotonic() > deadline:
                    raise TryLaterError("the stream of events went on for longer than was asked for")

    def _exchange(
        self, method: str, path: Path, *, params: Params, body: Mapping[str, object] | None, wait_s: int
    ) -> Answer:
        request = self._http.build_request(
            method,
            f"{self._server}{_PREFIX}/{_joined(path)}",
            params=params or None,
            content=None if body is None else json.dumps(body).encode(),
            headers={} if body is None else {"Content-Type": "application/json"},
            timeout=httpx.Timeout(QUIET_S, connect=CONNECT_S, read=QUIET_S + wait_s),
        )
        with self._answer(request) as response:
            raw = _bounded_body(response, monotonic() + EXCHANGE_S + wait_s)
        return _understood(response, raw)

    @contextmanager
    def _answer(self, request: httpx.Request) -> Iterator[httpx.Response]:
        """The answer with its body still to read; failures of both become ours."""
        try:
            response = self._http.send(request, stream=True)
            try:
                yield response
            finally:
                response.close()
        except httpx.TimeoutException as error:
            raise _timed_out(error, self._server, request.method) from None
        except httpx.HTTPError as error:
            raise _unreachable(error, self._server) from None


def _joined(path: Path) -> str:
    """The parts quoted: none can become two, or a query."""
    return "/".join(quote(part, safe="") for part in path)


def _tls_context(connection: Connection) -> ssl.SSLContext:
    if not connection.server.startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; it would be the slowest step to load authorities
    try:
        return ssl.create_default_context(cafile=connection.ca_file)
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no PEM certificate"
        raise SettingsError(f"--ca-file {connection.ca_file!a}: {reason}") from None


def _bounded_body(response: httpx.Response, deadline: float) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AnswerError("the answer is compressed, which was not asked for")
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise AnswerError(
                f"the answer is larger than {ANSWER_LIMIT} bytes",
                hint="ask for less at once; the output of one node: lattice-control task output TASK --node NODE",
            )
        if monotonic() > deadline:
            raise TryLaterError(f"the answer was not complete after {EXCHANGE_S:.0f} s")
    return bytes(body)


def _timed_out(error: httpx.TimeoutException, server: str, method: str) -> ControlError:
    if isinstance(error, httpx.ConnectTimeout):
        return UnavailableError(f"no connection to {server} within {CONNECT_S:.0f} s")
    if method == "GET":
        return TryLaterError(f"no answer from {server} in time")
    return TryLaterError(
        f"no answer from {server} in time", hint="it may have been done all the same: look before you try again"
    )


def _unreachable(error: httpx.HTTPError, server: str) -> UnavailableError:
    reason = repeated(error) or type(error).__name__
    if _has_cause(error, ssl.SSLCertVerificationError):
        return UnavailableError(
            f"{server} is not trusted: {reason}",
            hint="give its authority with --ca-file, and the name it was issued for",
        )
    return UnavailableError(f"no answer from {server}: {reason}")


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether ``kind`` is in the chain of causes that httpx and httpcore have wrapped."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _refuse_redirect(response: httpx.Response) -> None:
    if response.is_redirect:
        target = repeated(response.headers.get("location", ""))
        raise AnswerError(f"the server answers with a redirect to {target!r}", hint="give the final URL as --server")


def _understood(response: httpx.Response, raw: bytes) -> Answer:
    """The JSON object of a success; raises what any other answer means."""
    document = _json_object(raw)
    if not response.is_success:
        raise refusal(response.status_code, document)
    if document is None:
        raise AnswerError(f"the answer with status {response.status_code} is not a JSON object")
    return document


def _json_object(raw: bytes) -> Answer | None:
    try:
        document = json.loads(raw, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested to break the parser
        return None
    return document if isinstance(document, dict) else None


def _finite(text: str) -> float:
    """JSON has no NaN and no Infinity, and what is written as 1e999 would become one."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is not a number of JSON")
    return number
