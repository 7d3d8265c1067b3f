"""Which network metadata of a node is accepted (protocol reference 1.2). One bad public address refuses the whole
call, so the texts name the field."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from typing import Final

from server_stub.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_NOT_ROUTABLE: Final = _networks(
    *("0.0.0.0/32", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    *("224.0.0.0/4", "255.255.255.255/32", "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8"),
)
_SPECIAL_USE: Final = _networks(
    *("100.64.0.0/10", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
_WIREGUARD_KEY: Final = re.compile(r"[A-Za-z0-9+/]{42,43}=")
_ENDPOINT: Final = re.compile(r"(?:[^\s:\[\]]{1,255}|\[[^\s\[\]]{1,255}\]):([0-9]{1,5})")


@dataclass(frozen=True)
class Addresses:
    """What the control plane knows of a node's network; "" and 0 mean not known."""

    public_ip: str = ""
    public_ipv6: str = ""
    internal_ip: str = ""
    internal_ipv6: str = ""
    wireguard_ip: str = ""
    wireguard_public_key: str = ""
    wireguard_endpoint: str = ""
    wireguard_port: int = 0


def merge(stored: Addresses, reported: Addresses, observed: str, *, hello: bool) -> Addresses:
    """The stored addresses after a call; ``Refused`` 400 when the reported ones break a rule.

    ``observed`` is the source address of the connection: it stands in for a public address that was not reported.
    "" keeps what is stored, but for ``wireguard_ip`` in hello, which overwrites.
    """
    _check(reported)
    merged = replace(
        stored,
        public_ip=_effective(reported.public_ip, observed, stored.public_ip, version=4),
        public_ipv6=_effective(reported.public_ipv6, observed, stored.public_ipv6, version=6),
        internal_ip=reported.internal_ip if _parse(reported.internal_ip) else stored.internal_ip,
        internal_ipv6=reported.internal_ipv6 if _parse(reported.internal_ipv6) else stored.internal_ipv6,
        wireguard_ip=reported.wireguard_ip if hello else reported.wireguard_ip or stored.wireguard_ip,
    )
    if not hello:
        return merged
    return replace(
        merged,
        wireguard_public_key=reported.wireguard_public_key or stored.wireguard_public_key,
        wireguard_endpoint=reported.wireguard_endpoint or stored.wireguard_endpoint,
        wireguard_port=reported.wireguard_port or stored.wireguard_port,
    )


def _check(reported: Addresses) -> None:
    for field, text, version in (("public_ip", reported.public_ip, 4), ("public_ipv6", reported.public_ipv6, 6)):
        problem = _public_problem(field, text, version) if text else None
        if problem:
            raise Refused(400, problem)
    if reported.wireguard_ip and not _is_interface(reported.wireguard_ip):
        raise Refused(400, "invalid wireguard_ip")
    if reported.wireguard_public_key and not _WIREGUARD_KEY.fullmatch(reported.wireguard_public_key):
        raise Refused(400, "invalid wireguard_public_key")
    if reported.wireguard_endpoint:
        endpoint = _ENDPOINT.fullmatch(reported.wireguard_endpoint)
        if endpoint is None or not 0 < int(endpoint[1]) <= 65535:
            raise Refused(400, "invalid wireguard_endpoint")
    if not 0 <= reported.wireguard_port <= 65535:
        raise Refused(400, "invalid wireguard_port")


def _public_problem(field: str, text: str, version: int) -> str | None:
    address = _parse(text)
    if address is None:
        return f"invalid {field}"
    if address.version != version:
        return f"{field} must be IPv{version}"
    if _within(address, _NOT_ROUTABLE):
        return f"{field} is not a routable public address"
    if _within(address, _SPECIAL_USE):
        return f"{field} is reserved for special use"
    return None


def _effective(reported: str, observed: str, stored: str, *, version: int) -> str:
    """The first of the three that is a public address of the family."""
    for text in (reported, observed, stored):
        if text and _public_problem("address", text, version) is None:
            return str(_parse(text))
    return ""


def _parse(text: str) -> Address | None:
    """An address without a zone; an IPv4 address written as IPv6 counts as IPv4."""
    if "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_interface(text: str) -> bool:
    """An address, or an address with a prefix length (a netmask after the slash is no CIDR)."""
    address, slash, prefix = text.partition("/")
    if _parse(address) is None or (slash and not (prefix.isascii() and prefix.isdigit())):
        return False
    try:
        ip_interface(text)
    except ValueError:
        return False
    return True


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)  # of the other family: False


def rate_key(host: str) -> str:
    """The unit that an address rate is counted for: an IPv4 address, or the /64 that one IPv6 customer owns."""
    address = _parse(host)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return host if address is None else str(address)
