import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.interfaces import fingerprint
from lattice_agent.facts.inventory.link_dump import dump_links_and_addresses, parse_reply

LINK, ADDRESS, DONE, ERROR = 16, 20, 3, 2
STATS64, MTU, CACHE_INFO, LOCAL = 23, 4, 6, 2
CHANGES = """
import subprocess, sys
from pathlib import Path
from lattice_agent.facts.inventory.interfaces import fingerprint, read
root = Path("/")
before = fingerprint(root)
for command in sys.stdin.read().splitlines():
    subprocess.run(["ip", *command.split()], check=True)
    after = fingerprint(root)
    assert after == fingerprint(root), command
    print("same" if after == before else "changed", command)
    before = after
print(*(address for interface in read(root) for address in interface.addresses if "." in address))
"""


def message(kind: int, body: bytes, *attributes: tuple[int, bytes]) -> bytes:
    for number, value in attributes:
        body += struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 7, 7) + body


def link(*attributes: tuple[int, bytes], index: int = 2, flags: int = 0) -> bytes:
    return message(LINK, struct.pack("=BxHiII", 0, 1, index, flags, 0), *attributes)


def address(*attributes: tuple[int, bytes], prefix: int = 24, flags: int = 0, index: int = 2) -> bytes:
    return message(ADDRESS, struct.pack("=BBBBi", socket.AF_INET, prefix, flags, 0, index), *attributes)


NAME, LOCAL_IP = (3, b"eth0\0"), (LOCAL, b"\xc0\0\2\7")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (link(NAME, (STATS64, b"1111")), link(NAME, (STATS64, b"2222"))),
        (link(NAME, (26, b"1111")), link(NAME, (26, b"2222"))),  # IFLA_AF_SPEC: the kernel varies a time in it
        (link(NAME, flags=0x100), link(NAME)),  # a capture runs (IFF_PROMISC)
        (address(LOCAL_IP, (CACHE_INFO, b"1111")), address(LOCAL_IP, (CACHE_INFO, b"2222"))),
        (address(LOCAL_IP, flags=0x40), address(LOCAL_IP)),  # duplicate address detection goes on
    ],
)
def test_what_changes_by_itself_is_not_kept(one: bytes, other: bytes) -> None:
    assert one != other
    assert parse_reply(one) == parse_reply(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (link(NAME), link((3, b"eth1\0"))),
        (link(NAME), link(NAME, index=3)),
        (link(NAME, (MTU, b"1111")), link(NAME, (MTU, b"2222"))),
        (link(NAME, (16, b"\6")), link(NAME, (16, b"\2"))),
        (link(NAME), link(NAME, (10, b"\1\0\0\0"))),
        (link(NAME, (1, b"\2\0\0\0\0\1")), link(NAME, (1, b"\2\0\0\0\0\2"))),
        (address(LOCAL_IP), address((LOCAL, b"\xc0\0\2\x08"))),
        (address(LOCAL_IP), address(LOCAL_IP, prefix=25)),
        (address(LOCAL_IP), address(LOCAL_IP, index=3)),
        (link(NAME), link(NAME) + link((3, b"eth1\0"), index=3)),
    ],
)
def test_what_is_reported_is_kept(one: bytes, other: bytes) -> None:
    assert parse_reply(one) != parse_reply(other)


@pytest.mark.parametrize("kind", [DONE, ERROR])
def test_the_end_of_a_dump(kind: int) -> None:
    assert parse_reply(link(NAME))[1] is False
    values, is_last = parse_reply(link(NAME) + message(kind, bytes(4)) + link(NAME))
    assert (len(values), is_last) == (1, True)


@pytest.mark.parametrize("reply", [b"", bytes(16), link(NAME)[:20], struct.pack("=IHHII", 2**32 - 1, LINK, 0, 0, 0)])
def test_a_broken_reply_ends_it(reply: bytes) -> None:
    assert parse_reply(reply) == ([], True)


def test_an_attribute_without_a_length_does_not_hold_us() -> None:
    assert parse_reply(link() + bytes(4))[0] == parse_reply(message(LINK, bytes(4) + b"\2\0\0\0" + bytes(12)))[0]


@given(st.binary(max_size=400))
def test_no_reply_raises(reply: bytes) -> None:
    parse_reply(reply)
    parse_reply(link((200, reply)) + reply)


def test_this_machines_links_are_all_there() -> None:
    values = dump_links_and_addresses()
    for _, name in socket.if_nameindex():
        assert any(value.startswith(b"link") and name.encode() + b"\0" in value for value in values)


def test_a_kernel_that_refuses_leaves_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket, "socket", refuse)
    assert "sys/class/net" in str(fingerprint(Path("/")))


class RefusingSocket:
    """A netlink socket whose kernel answers every request with NLMSG_ERROR and EPERM."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "RefusingSocket":
        return self

    def __exit__(self, *_: object) -> None: ...

    def send(self, request: bytes) -> int:
        return len(request)

    def recv(self, _: int) -> bytes:
        return message(ERROR, struct.pack("=i", -1) + bytes(16))


def test_an_error_of_the_kernel_leaves_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", RefusingSocket)
    assert "sys/class/net" in str(fingerprint(Path("/")))


@pytest.mark.needs_root
@pytest.mark.needs_netns
def test_every_change_of_a_link_or_an_address_is_noticed() -> None:
    commands = """\
link add br9 type bridge
link set br9 mtu 1400
link set br9 address 02:00:00:00:00:09
addr add 192.0.2.7/24 dev br9
addr add 192.0.2.8/25 dev br9 label br9:x
addr add 2001:db8::7/64 dev br9 nodad
tuntap add tap9 mode tap
link set tap9 master br9
link set lo up
addr del 2001:db8::7/64 dev br9
link del tap9
"""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", CHANGES],
        input=commands, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    *rows, addresses = done.stdout.splitlines() or [""]
    assert [row for row in rows if not row.startswith("changed ")] == [], done.stderr
    assert (len(rows), addresses) == (11, "192.0.2.7/24 192.0.2.8/25"), done.stderr
