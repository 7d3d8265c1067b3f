"""IP addresses out of the files of a recorded host, whose kernel cannot be asked.

IPv6 is plain: ``/proc/net/if_inet6``. No file lists the IPv4 addresses of interfaces, but the kernel routes to itself
each of its own, which ``/proc/net/fib_trie`` shows, and to a link what is reached there without a gateway, which
``/proc/net/route`` shows. The narrowest such route around an address gives its interface and its prefix length. An
address that has no network around it (10.0.0.1/32 on wg0) cannot be placed and is left out.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import Final, Literal

_IF_INET6: Final = re.compile(r"([0-9a-f]{32}) [0-9a-f]+ ([0-9a-f]{2}) [0-9a-f]+ [0-9a-f]+ +([^\s/]{1,15})")
_TABLE: Final = re.compile(r"(\w[\w ]*):")
_LEAF: Final = re.compile(r"\|-- (\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})")
_OWN: Final = "/32 host LOCAL"
_WORD: Final = re.compile(r"[0-9A-Fa-f]{8}")
_IFACE, _DESTINATION, _GATEWAY, _MASK = 0, 1, 2, 7
_NONE: Final = "00000000"
_LOOPBACK_NET: Final = 127


@dataclass(frozen=True, slots=True)
class OnLink:
    """A network that is reached through an interface without a gateway."""

    interface: str
    network: int
    prefix: int


def parse_if_inet6(text: str) -> list[tuple[str, IPv6Interface]]:
    """Interface and address from lines of address, index, prefix length, scope, flags (all in hex) and name."""
    rows = (match for line in text.splitlines() if (match := _IF_INET6.fullmatch(line.strip())))
    return [
        (name, IPv6Interface((int(address, 16), int(prefix, 16))))
        for address, prefix, name in (row.groups() for row in rows)
        if int(prefix, 16) <= 128
    ]


def parse_local_ipv4(fib_trie: str, route: str) -> list[tuple[str, IPv4Interface]]:
    """Interface and address, each address once; 127/8 and addresses without a network around them are left out."""
    by_network = {(one.prefix, one.network): one.interface for one in reversed(parse_on_link(route))}
    prefixes = sorted({prefix for prefix, _ in by_network}, reverse=True)
    found = []
    for address in sorted(set(parse_own_ipv4(fib_trie))):
        for prefix in prefixes:
            if interface := by_network.get((prefix, int(address) & _mask(prefix))):
                found.append((interface, IPv4Interface((int(address), prefix))))
                break
    return found


def parse_own_ipv4(fib_trie: str) -> Iterator[IPv4Address]:
    """The addresses that table Local holds as the host's own, in the file's order."""
    in_local, leaf = False, ""
    for line in map(str.strip, fib_trie.splitlines()):
        if table := _TABLE.fullmatch(line):
            in_local, leaf = table[1] == "Local", ""
        elif match := _LEAF.fullmatch(line):
            leaf = match[1]
        elif in_local and line == _OWN and (address := _ipv4(leaf)):
            yield address


def _ipv4(text: str) -> IPv4Address | None:
    try:
        address = IPv4Address(text)
    except ValueError:
        return None
    return None if address.packed[0] == _LOOPBACK_NET else address


def parse_on_link(route: str) -> list[OnLink]:
    """The routes without a gateway, less a default one, in the file's order, which is that of their metric."""
    rows = [line.split() for line in route.splitlines()]
    rows = [row for row in rows if len(row) > _MASK and all(map(_WORD.fullmatch, row[_DESTINATION : _GATEWAY + 1]))]
    rows = [row for row in rows if _WORD.fullmatch(row[_MASK]) and row[_MASK] != _NONE]
    order = _byte_order(row[_MASK] for row in rows)
    found = []
    for row in rows:
        prefix = _prefix(_number(row[_MASK], order))
        if row[_GATEWAY] == _NONE and prefix is not None:
            found.append(OnLink(row[_IFACE], _number(row[_DESTINATION], order) & _mask(prefix), prefix))
    return found


def _byte_order(masks: Iterable[str]) -> Literal["little", "big"]:
    """The order of the recorded machine: its words are written as numbers, and a mask makes sense in one order only."""
    only_big = (_prefix(_number(mask, "little")) is None and _prefix(_number(mask, "big")) for mask in masks)
    return "big" if any(only_big) else "little"


def _number(word: str, order: Literal["little", "big"]) -> int:
    return int.from_bytes(bytes.fromhex(word), order)


def _mask(prefix: int) -> int:
    return (1 << 32) - (1 << (32 - prefix))


def _prefix(mask: int) -> int | None:
    prefix = mask.bit_count()
    return prefix if mask == _mask(prefix) else None
