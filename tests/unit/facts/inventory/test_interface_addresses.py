from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.interface_addresses import by_interface, listed, read_addresses, with_prefix
from lattice_agent.facts.inventory.recorded_addresses import (
    parse_if_inet6,
    parse_local_ipv4,
    parse_on_link,
    parse_own_ipv4,
)
from lattice_agent.wire.host_inventory import MAX_ADDRESSES
from tests.unit.facts.trees import write_tree

ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
IF_INET6 = """\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""
TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 198.51.100.9
        /32 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
           /32 link BROADCAST
        |-- 192.0.2.7
           /32 link UNICAST
           /32 host LOCAL
        |-- 192.0.2.130
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     |-- 203.0.113.1
        /32 host LOCAL
Id 100:
     |-- 198.51.100.10
        /32 host LOCAL
"""


def route(*rows: tuple[str, str, str, str]) -> str:
    """Rows of interface, destination, gateway, mask."""
    return ROUTE_HEAD + "".join(f"{i}\t{d}\t{g}\t0001\t0\t0\t0\t{m}\t0\t0\t0  \n" for i, d, g, m in rows)


LITTLE = route(
    ("eth0", "00000000", "010200C0", "00000000"),
    ("eth0", "000200C0", "00000000", "00FFFFFF"),
    ("eth1", "800200C0", "00000000", "80FFFFFF"),
    ("eth2", "007100CB", "010200C0", "00FFFFFF"),  # through a gateway: says nothing of the link
)
BIG = route(
    ("eth0", "00000000", "C0000201", "00000000"),
    ("eth0", "C0000200", "00000000", "FFFFFF00"),
    ("eth1", "C0000280", "00000000", "FFFFFF80"),
)
PLACED = [("eth0", IPv4Interface("192.0.2.7/24")), ("eth1", IPv4Interface("192.0.2.130/25"))]


@pytest.mark.parametrize("routes", [LITTLE, BIG], ids=["little", "big"])
def test_an_address_belongs_to_the_narrowest_network_around_it(routes: str) -> None:
    assert parse_local_ipv4(TRIE, routes) == PLACED


def test_an_address_without_a_network_is_left_out() -> None:
    assert parse_local_ipv4(TRIE, route(("eth2", "007100CB", "010200C0", "00FFFFFF"))) == []
    assert parse_local_ipv4(TRIE, "") == []
    assert parse_local_ipv4("", LITTLE) == []


def test_the_hosts_own_addresses_are_those_of_the_local_table() -> None:
    assert [str(one) for one in parse_own_ipv4(TRIE)] == ["192.0.2.7", "192.0.2.130", "203.0.113.1"]


def test_of_two_equal_networks_the_first_has_the_address() -> None:
    rows = (("eth0", "000200C0", "00000000", "00FFFFFF"), ("wlan0", "000200C0", "00000000", "00FFFFFF"))
    assert {name for name, _ in parse_local_ipv4(TRIE, route(*rows))} == {"eth0"}


@pytest.mark.parametrize(
    "text",
    [
        ROUTE_HEAD,
        route(("eth0", "000200C0", "00000000", "00FF00FF")),  # a mask with a gap, whichever way it is read
        route(("eth0", "0002_0C0", "00000000", "00FFFFFF")),
        route(("eth0", "000200C", "00000000", "00FFFFFF")),
        "eth0\t000200C0\t00000000\n",
    ],
)
def test_broken_routes_are_left_out(text: str) -> None:
    assert parse_on_link(text) == []


def test_ipv6_is_told_with_its_interface() -> None:
    assert parse_if_inet6(IF_INET6) == [
        ("eth0", IPv6Interface("fe80::fc:ff:fe00:1/64")),
        ("eth0", IPv6Interface("2001:db8::2/64")),
        ("lo", IPv6Interface("::1/128")),
    ]


def test_an_index_may_have_more_than_two_digits() -> None:
    assert parse_if_inet6("0" * 31 + "7 1a2b 80 00 80 vethab12") == [("vethab12", IPv6Interface("::7/128"))]


@pytest.mark.parametrize(
    "line", ["", "fe80 04 40 20 80 eth0", "0" * 32 + " 04 81 20 80 eth0", "0" * 32 + " 04 40 20 80", "z" * 32]
)
def test_broken_lines_of_ipv6_are_left_out(line: str) -> None:
    assert parse_if_inet6(line) == []


def test_a_recorded_host(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"proc/net/fib_trie": TRIE, "proc/net/route": LITTLE, "proc/net/if_inet6": IF_INET6}
    assert read_addresses(write_tree(tmp_path, files)) == {
        "eth0": ("192.0.2.7/24", "2001:db8::2/64", "fe80::fc:ff:fe00:1/64"),
        "eth1": ("192.0.2.130/25",),
    }


@pytest.mark.parametrize(
    ("address", "netmask", "expected"),
    [
        ("192.0.2.7", "255.255.255.0", "192.0.2.7/24"),
        ("192.0.2.7", "255.255.255.255", "192.0.2.7/32"),
        ("192.0.2.7", "0.0.0.0", "192.0.2.7/0"),
        ("192.0.2.7", None, "192.0.2.7/32"),
        ("192.0.2.7", "255.0.255.0", "192.0.2.7/8"),
        ("192.0.2.7", "ffff:ffff:ffff::", "192.0.2.7/32"),
        ("fe80::1%eth0", "ffff:ffff:ffff:ffff::", "fe80::1/64"),
        ("2001:db8::1", None, "2001:db8::1/128"),
        ("::ffff:192.0.2.7", "ffff::", "::ffff:c000:207/16"),
    ],
)
def test_the_netmask_becomes_a_prefix(address: str, netmask: str | None, expected: str) -> None:
    assert with_prefix(address, netmask) == ip_interface(expected)


@pytest.mark.parametrize(
    ("address", "netmask"), [("02:00:00:00:00:01", None), ("", None), ("192.0.2.7", "junk"), ("192.0.2", "255.0.0.0")]
)
def test_what_is_no_address_is_left_out(address: str, netmask: str | None) -> None:
    assert with_prefix(address, netmask) is None


def test_labelled_addresses_belong_to_their_interface() -> None:
    rows = [("eth0", "192.0.2.7", None), ("eth0:1", "192.0.2.8", None), ("eth0", "02:00:00:00:00:01", None)]
    assert by_interface(rows) == {"eth0": [IPv4Interface("192.0.2.7/32"), IPv4Interface("192.0.2.8/32")]}


def test_addresses_are_in_numeric_order_each_once_and_bounded() -> None:
    texts = ("fe80::1/64", "10.0.0.9/8", "9.9.9.9/32", "10.0.0.10/8", "10.0.0.9/8", "2001:db8::1/64")
    assert listed(map(ip_interface, texts)) == (
        *("9.9.9.9/32", "10.0.0.9/8", "10.0.0.10/8"),
        *("2001:db8::1/64", "fe80::1/64"),
    )
    many = (IPv4Interface((number, 32)) for number in range(1000))
    assert listed(many) == tuple(f"0.0.0.{number}/32" for number in range(MAX_ADDRESSES))


def test_files_and_kernel_of_this_machine_agree_on_ipv6() -> None:
    recorded: dict[str, list[str]] = {}
    for name, address in parse_if_inet6(Path("/proc/net/if_inet6").read_text()):
        recorded.setdefault(name, []).append(str(address))
    recorded.pop("lo", None)
    live = {name: sorted(one for one in some if ":" in one) for name, some in read_addresses(Path("/")).items()}
    assert {name: some for name, some in live.items() if some} == {
        name: sorted(some) for name, some in recorded.items()
    }


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_if_inet6(text)
    parse_local_ipv4(text, LITTLE)
    parse_local_ipv4(TRIE, text)
    with_prefix(text, text)
    with_prefix("192.0.2.7", text)


@given(st.from_regex(r"\A[0-9A-Fa-f]{8}\Z"), st.from_regex(r"\A[0-9A-Fa-f]{8}\Z"))
def test_no_route_raises(destination: str, mask: str) -> None:
    parse_local_ipv4(TRIE, route(("eth0", destination, "00000000", mask)))


@given(st.from_regex(r"\|-- [0-9]{1,3}(\.[0-9]{1,3}){3}\n/32 host LOCAL"))
def test_no_leaf_raises(leaf: str) -> None:
    list(parse_own_ipv4("Local:\n" + leaf))
