"""Which URLs the token may travel to: the cleartext rule (protocol section 7), judged before any socket exists.

The URL is taken apart by one strict pattern instead of a lenient parser: two parsers that disagree about where the
host ends are how a guard gets passed, so everything unusual is refused (never repaired) and what is left means the
same to every parser.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from lattice_agent.errors import TransportRefusedError

_URL: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/]*)(?P<path>/.*)?")
_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_USER_INFORMATION: Final = re.compile(r"//[^/]*@")


@dataclass(frozen=True)
class Endpoint:
    """A control plane's address that passed the rule."""

    base_url: str
    """Scheme in lower case, no trailing slash, path prefix kept; a request's path is appended as text."""

    scheme: str
    """``http`` or ``https``."""

    host: str
    """As written, an IPv6 literal without its brackets."""

    loopback: bool
    """The exact text ``localhost`` or a loopback literal; such a request never goes through a proxy."""

    warning: str | None = None
    """What to tell the operator once, if the rule was waived."""


def judge_base_url(base_url: str, *, allow_insecure_http: bool) -> Endpoint:
    """Apply the cleartext rule to the configured URL.

    https is allowed; http only to a loopback host, or with ``allow_insecure_http`` (then ``Endpoint.warning`` is
    set). Raises TransportRefusedError for anything else, also for a URL with user information, query or fragment.
    The message never shows the user information or the query.
    """
    text = base_url.rstrip("/")
    matched = _URL.fullmatch(text)
    if matched is None:
        raise _refused(text, "it is not of the form https://host")
    scheme, authority, path = matched["scheme"].lower(), matched["authority"], matched["path"] or ""
    if scheme not in ("http", "https"):
        raise _refused(text, f"scheme {scheme!r} is neither https nor http")
    _refuse_extras(text, authority)
    host = _host(text, authority)
    loopback = is_loopback_host(host)
    warning = None
    if scheme == "http" and not loopback:
        if not allow_insecure_http:
            raise _refused(text, "it would send the node token in the clear to another machine", hint=None)
        warning = f"the node token travels in the clear to {host}: anybody on the way can take it"
    return Endpoint(f"{scheme}://{authority}{path}", scheme, host, loopback, warning)


def is_loopback_host(host: str) -> bool:
    """True for exactly ``localhost`` and for literals in 127.0.0.0/8, ``::1`` and ``::ffff:127.0.0.0/104``.

    Names that only resolve to loopback, ``LOCALHOST``, ``localhost.`` and 0.0.0.0 are not.
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback


def _refuse_extras(text: str, authority: str) -> None:
    if "@" in authority:
        raise _refused(text, "it carries user information; the token is the only credential")
    if "?" in text:
        raise _refused(text, "it carries a query; paths are appended to it")
    if "#" in text:
        raise _refused(text, "it carries a fragment; paths are appended to it")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise _refused(text, "it holds a space, a backslash, or a character outside ASCII")


def _host(text: str, authority: str) -> str:
    matched = _AUTHORITY.fullmatch(authority)
    if matched is None:
        raise _refused(text, "it has no host, or one that cannot be read")
    if matched["port"] is not None and not 1 <= int(matched["port"]) <= 65535:
        raise _refused(text, f"port {matched['port']} is not between 1 and 65535")
    host = matched["host"]
    if not host.startswith("["):
        return host
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise _refused(text, f"{host} is not an IPv6 address") from None
    return host[1:-1]


_FORM_HINT: Final = "write the URL as https://host or https://host:port/prefix"


def _refused(text: str, why: str, *, hint: str | None = _FORM_HINT) -> TransportRefusedError:
    shown = _USER_INFORMATION.sub("//***@", re.split(r"[?#]", text, maxsplit=1)[0])
    return TransportRefusedError(f"control plane URL {shown!r} is refused: {why}", hint=hint)
