"""Links and addresses as the kernel lists them over rtnetlink(7): a cheap way to see that one of them has changed.

Two dumps, RTM_GETLINK and RTM_GETADDR, cost some system calls however many interfaces there are. A reply is a row of
messages: ``nlmsghdr`` (u32 length, u16 type, u16 flags, u32 sequence, u32 port), then ``ifinfomsg`` or ``ifaddrmsg``,
then attributes (u16 length, u16 type, value), each aligned to 4 bytes. All in the machine's byte order.

Kept are only attributes that a reader of interfaces reports. The others hold counters, timers of bridges and lifetimes
of addresses, so that no two dumps of a busy host would be equal.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

_ENDS: Final = frozenset({2, 3})  # NLMSG_ERROR, NLMSG_DONE
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 18, 20, 22
_NLM_F_REQUEST_DUMP: Final = 0x301
_LINK_ATTRIBUTES: Final = frozenset({1, 3, 4, 10, 16, 33, 35})
"""IFLA_ADDRESS, IFNAME, MTU, MASTER, OPERSTATE, CARRIER and CARRIER_CHANGES (a new speed comes with one)."""
_LINK_COUNTERS: Final = frozenset({7, 23})
"""IFLA_STATS and STATS64. The kernel writes them, and much more, behind all of the above; we look no further."""
_ADDRESS_ATTRIBUTES: Final = frozenset({1, 2, 3})
"""IFA_ADDRESS, LOCAL and LABEL."""
_LINK_BODY, _ADDRESS_BODY = 16, 8
_RECEIVE: Final = 65_536
_REPLIES_LIMIT: Final = 1024
"""Datagrams of one dump, of 4 KiB at least; a dump that goes on is cut, and what is beyond goes unnoticed."""

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")


def dump_links_and_addresses() -> tuple[bytes, ...]:
    """One value per link and per address of this network namespace, equal while the interface or address is.

    OSError when the kernel does not answer: not Linux, or a sandbox that refuses the address family.
    """
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError(None, "no netlink")
    # The kernel prepares a reply before send() or recv() returns, so a socket that would block has nothing to come.
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0) as netlink:
        links = _dump(netlink, _RTM_GETLINK, bytes(_LINK_BODY))
        if not links:  # an error, for lo is in every namespace
            raise OSError(None, "no links")
        return (*links, *_dump(netlink, _RTM_GETADDR, bytes(_ADDRESS_BODY)))


def _dump(netlink: socket.socket, request: int, body: bytes) -> list[bytes]:
    netlink.send(_HEADER.pack(_HEADER.size + len(body), request, _NLM_F_REQUEST_DUMP, request, 0) + body)
    values: list[bytes] = []
    for _ in range(_REPLIES_LIMIT):
        found, is_last = parse_reply(netlink.recv(_RECEIVE))
        values += found
        if is_last:
            break
    return values


def parse_reply(reply: bytes) -> tuple[list[bytes], bool]:
    """What is kept of each link and address in one datagram, and whether it ends the dump. A broken message does."""
    found: list[bytes] = []
    for kind, start, end in _messages(reply):
        if kind == _RTM_NEWLINK:
            index = reply[start + 4 : start + 8]
            found.append(b"link" + index + _kept(reply, start + _LINK_BODY, end, _LINK_ATTRIBUTES, _LINK_COUNTERS))
        elif kind == _RTM_NEWADDR:
            family_and_prefix, index = reply[start : start + 2], reply[start + 4 : start + 8]
            attributes = _kept(reply, start + _ADDRESS_BODY, end, _ADDRESS_ATTRIBUTES, frozenset())
            found.append(b"addr" + family_and_prefix + index + attributes)
        elif kind in _ENDS:
            return found, True
    return found, not found


def _messages(reply: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, start and end of each message's body."""
    at = 0
    while at + _HEADER.size <= len(reply):
        length, kind, *_ = _HEADER.unpack_from(reply, at)
        if length < _HEADER.size or at + length > len(reply):
            return
        yield kind, at + _HEADER.size, at + length
        at += (length + 3) & ~3


def _kept(reply: bytes, at: int, end: int, wanted: frozenset[int], last: frozenset[int]) -> bytes:
    """The wanted attributes between two places, as they are; none behind one of ``last``."""
    parts = []
    unpack = _ATTRIBUTE.unpack_from
    while at + 4 <= end:
        length, kind = unpack(reply, at)
        if length < 4:
            break
        if kind in wanted:
            parts.append(reply[at : min(at + length, end)])
        elif kind in last:
            break
        at += (length + 3) & ~3
    return b"".join(parts)
