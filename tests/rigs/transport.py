"""Real peers for the transport tests: a throw-away authority, raw servers on loopback, and a CONNECT proxy.

The servers speak bytes, not a library's HTTP, so that they can be as wrong as a test needs, and they keep every
application byte they were sent.
"""

import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

TOKEN = "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC10b2tlbi4"

Script = Callable[[trio.abc.Stream, bytes], Awaitable[None]]
"""Given the stream and the request that was read, answer it."""


# --- certificates --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Identity:
    """A server's certificate and key files, and the pin of its key."""

    certificate: Path
    key: Path
    pin: str

    def server_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        context.load_cert_chain(self.certificate, self.key)
        return context


class Authority:
    """A certificate authority made by openssl(1) in a directory of the test."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._name = name
        self.certificate = folder / f"{name}.pem"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"),
            *("-subj", f"/CN=throw-away {name}", "-keyout", self._key, "-out", self.certificate),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"),
        )

    @property
    def _key(self) -> Path:
        return self._folder / f"{self._name}.key"

    def issue(self, name: str, *, alternatives: str = "", days: int = 30) -> Identity:
        """A server certificate; ``alternatives`` like ``IP:127.0.0.1,DNS:control.test``; negative days: expired."""
        key, request, certificate, extensions = (self._folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        extensions.write_text(f"subjectAltName={alternatives}\n" if alternatives else "keyUsage=digitalSignature\n")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", str(days), "-extfile", extensions, "-out", certificate),
        )
        return Identity(certificate, key, _pin_by_openssl(certificate))


def _pin_by_openssl(certificate: Path) -> str:
    """The pin as an operator computes it, with no code of ours."""
    public = _openssl("x509", "-in", certificate, "-pubkey", "-noout")
    encoded = _openssl("pkey", "-pubin", "-outform", "der", feed=public)
    digest = _openssl("dgst", "-sha256", "-binary", feed=encoded)
    return _openssl("base64", "-A", feed=digest).decode("ascii").strip()


def _openssl(*arguments: str | Path, feed: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=feed, check=True, capture_output=True, timeout=20).stdout


# --- servers ---------------------------------------------------------------------------------------------------------


class Peer:
    """A server on 127.0.0.1 that answers with a script and keeps what it was sent."""

    def __init__(self, script: Script, context: ssl.SSLContext | None) -> None:
        self._script = script
        self._context = context
        self.port = 0
        self.connections = 0
        self.received = bytearray()
        self.requests: list[bytes] = []
        self.hung_up = trio.Event()
        """A connection has ended and everything that arrived on it was recorded."""

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            if self._context is not None:
                stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
            while request := await self._read_request(stream):
                self.requests.append(request)
                await self._script(stream, request)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client hung up, which most tests want
        finally:
            await trio.aclose_forcefully(stream)
            self.hung_up.set()

    async def _read_request(self, stream: trio.abc.Stream) -> bytes:
        """One request with its body; empty at the end of the connection."""
        request = bytearray()
        while b"\r\n\r\n" not in request or len(request) < _request_length(bytes(request)):
            chunk = await stream.receive_some(65536)
            if not chunk:
                return b""
            request += chunk
            self.received += chunk
        return bytes(request)


def _request_length(request: bytes) -> int:
    head, separator, _ = request.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(head) + len(separator) + int(line.partition(b":")[2])
    return len(head) + len(separator)


async def start_peer(nursery: trio.Nursery, script: Script, context: ssl.SSLContext | None = None) -> Peer:
    """Listen and return; the server ends with the nursery."""
    peer = Peer(script, context)
    peer.port = await _listen(nursery, peer.handle)
    return peer


async def _listen(nursery: trio.Nursery, handler: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(partial(trio.serve_listeners, handler, listeners))
    port: int = listeners[0].socket.getsockname()[1]
    return port


def answering(answer: bytes) -> Script:
    """Give these bytes to every request."""

    async def script(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(answer)

    return script


def http_answer(body: bytes = b'{"ok":true}', status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


OK = http_answer()


# --- a proxy ---------------------------------------------------------------------------------------------------------


class ConnectProxy:
    """A CONNECT proxy that brings every target to one port on loopback; keeps the heads of what it was asked."""

    def __init__(self, target_port: int, context: ssl.SSLContext | None) -> None:
        self._target_port = target_port
        self._context = context
        self.port = 0
        self.asked: list[bytes] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    async def handle(self, stream: trio.abc.Stream) -> None:
        if self._context is not None:
            stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        async with stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                chunk = await stream.receive_some(1)  # not a byte beyond the head: the rest belongs to the tunnel
                if not chunk:
                    return
                head += chunk
            self.asked.append(head)
            if not head.startswith(b"CONNECT "):
                await stream.send_all(http_answer(b"", "405 Method Not Allowed", "Connection: close"))
                return
            async with await trio.open_tcp_stream("127.0.0.1", self._target_port) as target:
                await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, stream, target, nursery.cancel_scope)
                    nursery.start_soon(_pump, target, stream, nursery.cancel_scope)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    try:
        while chunk := await source.receive_some(65536):
            await sink.send_all(chunk)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # one side is gone; so is the tunnel
    both.cancel()


async def start_proxy(nursery: trio.Nursery, target_port: int, context: ssl.SSLContext | None = None) -> ConnectProxy:
    proxy = ConnectProxy(target_port, context)
    proxy.port = await _listen(nursery, proxy.handle)
    return proxy


# --- names ---------------------------------------------------------------------------------------------------------


class Names(trio.abc.HostnameResolver):
    """Resolves every name to one port on loopback, or none at all; install it for the length of one trio run."""

    def __init__(self, port: int | None) -> None:
        self._port = port

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        if self._port is None:
            raise trio.socket.gaierror(trio.socket.EAI_NONAME, "Name or service not known")
        return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", ("127.0.0.1", self._port))]

    async def getnameinfo(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError
