"""WireGuard metadata that hello carries (pure; protocol reference 1.2): one bad value would cost the whole call."""

import re
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Final

_KEY: Final = re.compile(r"[A-Za-z0-9+/]{42,43}=")
_ENDPOINT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{1,255}\]|[^\s:\[\]]{1,255}):([0-9]{1,5})")
PORT_LIMIT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class WireGuard:
    """``-wg-ip`` (address or CIDR), ``-wg-pubkey``, ``-wg-endpoint`` (host:port), ``-wg-port``; "" and 0 are unset.

    ``problems`` are sentences for the log about what was left out, each to be written once.
    """

    ip: str = ""
    public_key: str = ""
    endpoint: str = ""
    port: int = 0
    problems: tuple[str, ...] = ()


def checked_wireguard(*, ip: str = "", public_key: str = "", endpoint: str = "", port: int = 0) -> WireGuard:
    """The values with every one that the server would refuse left out and named."""
    checks = (
        ("-wg-ip", ip, _is_address_or_cidr(ip), "an IP address or CIDR"),
        ("-wg-pubkey", public_key, _KEY.fullmatch(public_key) is not None, "a base64 key of 44 characters"),
        ("-wg-endpoint", endpoint, _is_endpoint(endpoint), "host:port"),
        ("-wg-port", port, 0 <= port <= PORT_LIMIT, f"a port from 0 to {PORT_LIMIT}"),
    )
    bad = {
        flag: f"{flag} {value!r} is not {wanted}; it is not sent"
        for flag, value, good, wanted in checks
        if value and not good
    }
    return WireGuard(
        ip="" if "-wg-ip" in bad else ip,
        public_key="" if "-wg-pubkey" in bad else public_key,
        endpoint="" if "-wg-endpoint" in bad else endpoint,
        port=0 if "-wg-port" in bad else port,
        problems=tuple(bad.values()),
    )


def _is_address_or_cidr(text: str) -> bool:
    try:
        ip_interface(text)
    except ValueError:
        return False
    return "%" not in text and text.count("/") <= 1 and "." not in text.partition("/")[2]  # no netmask spelling


def _is_endpoint(text: str) -> bool:
    match = _ENDPOINT.fullmatch(text)
    return match is not None and 0 < int(match.group(1)) <= PORT_LIMIT
