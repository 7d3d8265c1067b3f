"""Which addresses are this machine's own, and nobody else's (pure; protocol reference 5.2).

``localhost`` is never looked up. It stands for 127.0.0.1 and then ::1, because a name service that answers it
otherwise would be shown what is meant for the proxy core.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from lattice_agent.errors import ConfigError

LAST_PORT: Final = 65_535

_LOCALHOST: Final = ("127.0.0.1", "::1")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_HOST_PORT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A loopback host, ``localhost`` or a literal address without brackets, and a port from 1 to 65,535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def addresses(self) -> tuple[str, ...]:
        """The literal addresses to try, in order."""
        return literal_addresses(self.host)


def endpoint(text: str, setting: str) -> Endpoint:
    """Reads ``host:port`` or ``[::1]:port``; ``ConfigError`` naming ``setting`` if it is not one of this machine."""
    reach = f"set {setting} to an address such as 127.0.0.1:10085"
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{setting} is {text[:64]!r}, not host:port", hint=reach)
    host, port = (match["v6"] or match["host"]).lower(), int(match["port"])
    if not 0 < port <= LAST_PORT:
        raise ConfigError(f"{setting} has the port {port}, not one from 1 to {LAST_PORT}", hint=reach)
    if not is_loopback(host) or (match["v6"] and ":" not in host):
        raise ConfigError(f"{setting} points to {host[:64]!r}, which is not a loopback host", hint=reach)
    return Endpoint(host, port)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is ``localhost`` or a literal address in 127/8 or ::1."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOOPBACK)


def literal_addresses(host: str) -> tuple[str, ...]:
    """What to connect to for a loopback host, in order of preference."""
    return _LOCALHOST if host.lower() == "localhost" else (host,)
