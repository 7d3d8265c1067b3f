"""The rules for addresses (pure): which the server takes as public, which count as internal.

One address that the server refuses costs the whole hello or heartbeat it is in (protocol reference 1.2, trap 3), so
nothing is sent as public that has not passed ``public_address_problem``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal, TypeAlias

Family: TypeAlias = Literal[4, 6]

BODY_LIMIT: Final = 4096
"""Bytes of a resolver's answer or of a script's output that are looked at."""

_PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_SPECIAL: Final = tuple(
    map(
        ip_network,
        ("100.64.0.0/10", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"),
    )
)
_BROADCAST: Final = IPv4Address("255.255.255.255")
_VIRTUAL_PREFIXES: Final = (
    *("docker", "veth", "br-", "wg", "tailscale", "cni", "kube", "flannel", "lo"),
    *("utun", "llw", "awdl", "gif", "stf", "tun", "tap"),
)


@dataclass(frozen=True, slots=True)
class AddressPair:
    """An IPv4 and an IPv6 address in text; "" is not known."""

    v4: str = ""
    v6: str = ""


@dataclass(frozen=True, slots=True)
class InterfaceAddresses:
    """A network interface with the addresses on it, in the order the kernel lists them."""

    name: str
    is_up: bool
    addresses: tuple[str, ...]


def public_address_problem(text: str, family: Family) -> str:
    """Why the server would refuse ``text`` as the node's public address of that family; "" if it would take it.

    >>> public_address_problem("9.9.9.9", 4)
    ''
    >>> public_address_problem("192.168.1.5", 4)
    'is not a routable public address'
    """
    address = _parse(text)
    if address is None:
        return "is not an IP address"
    if address.version != family or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None):
        return f"is not an IPv{family} address"
    if not _is_global_unicast(address) or any(address in network for network in _PRIVATE):
        return "is not a routable public address"
    if any(address in network for network in _SPECIAL):
        return "is reserved for special use"
    return ""


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text:
        return None  # a zone makes sense on this host only
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_global_unicast(address: IPv4Address | IPv6Address) -> bool:
    excluded = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not excluded and address != _BROADCAST


def first_public_pair(text: str) -> AddressPair:
    """The first public address of each family among the words of a script's output (protocol reference 1.4)."""
    words = [word.strip(",;") for word in text[:BODY_LIMIT].split()]
    return AddressPair(_first_public(words, 4), _first_public(words, 6))


def public_address_in_body(body: str, family: Family) -> str:
    """The public address a resolver answered: the whole body, or its first ``ip=`` line; "" if there is none."""
    lines = [line.strip() for line in body[:BODY_LIMIT].splitlines()]
    named = [line[3:].strip() for line in lines if line.startswith("ip=")]
    return _first_public([*named[:1], body.strip()], family)


def _first_public(candidates: Iterable[str], family: Family) -> str:
    return next((text for text in candidates if not public_address_problem(text, family)), "")


def internal_pair(interfaces: Iterable[InterfaceAddresses]) -> AddressPair:
    """The first address of each family that is neither loopback nor link-local, on an interface of the host's own."""
    parsed = [
        address
        for interface in interfaces
        if interface.is_up and not interface.name.lower().startswith(_VIRTUAL_PREFIXES)
        for text in interface.addresses
        if (address := _parse(text.partition("%")[0])) is not None and _is_global_unicast(address)
    ]
    return AddressPair(*(next((str(one) for one in parsed if one.version == version), "") for version in (4, 6)))
