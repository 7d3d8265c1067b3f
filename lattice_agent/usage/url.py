"""A usage document behind a loopback URL (protocol reference 5.2).

Whatever the URL says, no byte leaves the machine: the host must be one of ``usage.loopback``, proxy settings are not
read and redirects are errors.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import trio

from lattice_agent.errors import ConfigError, UsageSourceError
from lattice_agent.secret import Secret
from lattice_agent.usage.local_secret import load_local_secret
from lattice_agent.usage.loopback import LAST_PORT, is_loopback, literal_addresses
from lattice_agent.usage.parse import DOCUMENT_LIMIT, parse_usage
from lattice_agent.usage.reading import RawUsage
from lattice_agent.usage.source import UsageSource

_REACH: Final = "set it to a URL such as http://127.0.0.1:8080/usage"


class LoopbackUrlSource(UsageSource):
    """GETs a document of one of the three shapes of ``usage.parse``.

    ``secret``, or the content of ``secret_file``, goes out as bearer token. ``ConfigError`` at once if that cannot be
    used or the URL is not one of this machine.
    """

    collector_source = "http"

    def __init__(
        self, url: str, *, secret: Secret | None = None, secret_file: Path | None = None, timeout_s: float = 3.0
    ) -> None:
        super().__init__(timeout_s)
        self._url = loopback_url(url)
        self._secret = load_local_secret(secret, secret_file)
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            # In a hook, because httpx works out where a redirect leads even if nobody follows it, and fails at some.
            event_hooks={"response": [_refuse_redirect]},
            timeout=timeout_s,
            verify=_tls(self._url),
            # One reading every few seconds; a kept connection could only be a stale one.
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        )

    def __str__(self) -> str:
        return f"proxy usage URL {self._url.copy_with(query=None, fragment=None)}"

    async def aclose(self) -> None:
        """Closes the client."""
        await self._client.aclose()

    async def _read(self) -> RawUsage:
        try:
            return parse_usage(await self._get())
        except httpx.HTTPError as error:
            raise UsageSourceError(f"{self} failed: {str(error) or type(error).__name__}") from None
        except UsageSourceError as error:
            raise UsageSourceError(f"{self}: {error}", hint=error.hint()) from None

    async def _get(self) -> bytes:
        *others, last = self._targets()
        for target in others:
            try:
                return await self._get_from(target)
            except httpx.ConnectError:
                continue  # nothing listens at this address of localhost
        return await self._get_from(last)

    def _targets(self) -> Iterator[httpx.URL]:
        return (self._url.copy_with(host=host) for host in literal_addresses(self._url.host))

    async def _get_from(self, target: httpx.URL) -> bytes:
        name = {"sni_hostname": self._url.host} if self._url.host == "localhost" else {}
        async with self._client.stream("GET", target, headers=self._headers(), extensions=name) as response:
            _check_answer(response)
            return await _bounded(response)

    def _headers(self) -> dict[str, str]:
        headers = {"Host": self._url.netloc.decode(), "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret.reveal()}"
        return headers


def loopback_url(text: str) -> httpx.URL:
    """The URL, if it is http or https, without user or password, to a loopback host; else ``ConfigError``."""
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        raise ConfigError("-proxy-usage-url is not a URL", hint=_REACH) from None  # nor shown: it may hold a password
    if url.scheme not in ("http", "https"):
        raise ConfigError(f"-proxy-usage-url has the scheme {url.scheme!r}, not http or https", hint=_REACH)
    if url.userinfo:
        raise ConfigError("-proxy-usage-url holds a user or password", hint="use -proxy-usage-secret-file")
    if url.port is not None and not 0 < url.port <= LAST_PORT:
        raise ConfigError(f"-proxy-usage-url has the port {url.port}, not one from 1 to {LAST_PORT}", hint=_REACH)
    if not is_loopback(url.host):
        raise ConfigError(f"-proxy-usage-url points to {url.host!r}, which is not a loopback host", hint=_REACH)
    return url


def _tls(url: httpx.URL) -> ssl.SSLContext:
    if url.scheme == "https":
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; the default one would load every public CA


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    with trio.CancelScope() as reading:
        async for part in response.aiter_raw():
            body += part
            if len(body) > DOCUMENT_LIMIT:
                reading.cancel()  # not break, which would strand the generators that httpx stacks up
    if len(body) > DOCUMENT_LIMIT:
        raise UsageSourceError(f"the answer is longer than {DOCUMENT_LIMIT} bytes")
    return bytes(body)


async def _refuse_redirect(response: httpx.Response) -> None:
    if response.is_redirect:
        raise UsageSourceError("the answer is a redirect, which is not followed")


def _check_answer(response: httpx.Response) -> None:
    if not response.is_success:
        raise UsageSourceError(f"the answer has status {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise UsageSourceError("the answer is compressed although that was not asked for")
