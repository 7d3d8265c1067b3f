"""Foreign errors to our own words: the one place that knows what httpx, httpcore, trio and ssl raise."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx
import trio

from lattice_agent.link.errors import Reason

FOREIGN: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
)
"""Everything an exchange over a real network is known to raise, beside our own errors."""

_TIMEOUTS: Final = {
    httpx.ConnectTimeout: "no connection within the time limit",
    httpx.WriteTimeout: "the request was not taken within the time limit",
    httpx.ReadTimeout: "no part of the answer within the time limit",
    httpx.PoolTimeout: "no connection was free within the time limit",
}
_MAX_CHAIN: Final = 16  # causes looked at; httpx over httpcore over trio over ssl makes five
_MAX_TEXT: Final = 200


def explain(exc: BaseException) -> tuple[Reason, str]:
    """The kind of a foreign error, and a clause for the message. The clause may quote the peer: see ``printable``."""
    for cause in _chain(exc):
        if isinstance(cause, socket.gaierror):
            return Reason.DNS, f"the name cannot be resolved ({cause.strerror})"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Reason.TLS, f"the certificate is refused ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return Reason.TLS, f"TLS failed ({cause.reason or cause})"
    if isinstance(exc, httpx.TimeoutException):
        return Reason.TIMEOUT, _TIMEOUTS.get(type(exc), "a time limit was reached")
    if isinstance(exc, httpx.ProxyError):
        return Reason.PROXY, f"the proxy refused the tunnel ({exc})"
    if isinstance(exc, httpx.ConnectError):
        return Reason.CONNECT, f"no connection ({_system_text(exc)})"
    if isinstance(exc, httpx.ProtocolError | httpx.InvalidURL | httpx.UnsupportedProtocol):
        return Reason.PROTOCOL, f"the answer is not proper HTTP ({exc})"
    return Reason.LOST, f"the connection was lost ({_system_text(exc)})"


def printable(text: str) -> str:
    """Text that may stem from the peer, fit for one log line: no control characters, at most 200 characters."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: _MAX_TEXT + 1])
    return clean if len(clean) <= _MAX_TEXT else clean[: _MAX_TEXT - 1] + "…"


def _system_text(exc: BaseException) -> str:
    """The system's own words (``Connection refused``) if an errno is at the bottom, else the error's text or name."""
    for cause in _chain(exc):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return str(exc) or type(exc).__name__


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, outermost first; of a group (several addresses tried) the first member."""
    current: BaseException | None = exc
    for _ in range(_MAX_CHAIN):
        if current is None:
            return
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__
