from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.addresses import (
    AddressPair,
    InterfaceAddresses,
    first_public_pair,
    internal_pair,
    public_address_in_body,
    public_address_problem,
)
from tests.golden_files import exchange


@pytest.mark.parametrize(
    ("text", "family"),
    [("9.9.9.9", 4), ("1.1.1.1", 4), ("172.32.0.1", 4), ("100.128.0.1", 4), ("2606:4700::1111", 6), ("2001:DB9::1", 6)],
)
def test_a_routable_address_is_taken(text: str, family: int) -> None:
    assert public_address_problem(text, family) == ""  # type: ignore[arg-type]  # a parameter is no literal


@pytest.mark.parametrize(
    "text", ["100.64.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "2001:db8::1"]
)
def test_weak_point_22_special_ranges_are_refused_before_the_server_does(text: str) -> None:
    assert public_address_problem(text, ip_address(text).version) == "is reserved for special use"


@pytest.mark.parametrize(
    "text",
    [
        *("10.1.2.3", "172.16.0.1", "192.168.1.1", "fd00::5", "127.0.0.1", "::1", "169.254.1.1", "fe80::1"),
        *("224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255"),
    ],
)
def test_trap_03_what_is_not_routable_is_refused(text: str) -> None:
    assert public_address_problem(text, ip_address(text).version) == "is not a routable public address"


@pytest.mark.parametrize(
    ("text", "family"), [("9.9.9.9", 6), ("2606:4700::1", 4), ("::ffff:9.9.9.9", 6), ("::ffff:9.9.9.9", 4)]
)
def test_the_other_family_is_refused(text: str, family: int) -> None:
    assert public_address_problem(text, family) == f"is not an IPv{family} address"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "x", "9.9.9", "09.9.9.9", "9.9.9.9/32", " 9.9.9.9", "2606:4700::1%eth0", "9.9.9.9:80"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert public_address_problem(text, 4) == public_address_problem(text, 6) == "is not an IP address"


def test_trap_03_the_addresses_the_real_server_refused_are_refused_here() -> None:
    for name in ("hello-private-ip-400", "metrics-documentation-ip-400"):
        recorded = exchange(name)
        assert recorded.status == 400
        assert public_address_problem(recorded.body["public_ip"], 4)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    public_address_problem(text, 4)
    first_public_pair(text)
    public_address_in_body(text, 6)


def test_a_scripts_words_are_searched_for_the_first_public_pair() -> None:
    words = "eth0: 10.0.0.5, 9.9.9.9, 1.1.1.1\n;2606:4700::1111; fe80::1"
    assert first_public_pair(words) == AddressPair("9.9.9.9", "2606:4700::1111")
    assert first_public_pair("nothing here 192.0.2.1") == AddressPair()


def test_words_beyond_4096_characters_are_not_looked_at() -> None:
    assert first_public_pair(" " * 4096 + "9.9.9.9") == AddressPair()


@pytest.mark.parametrize(
    ("body", "address"),
    [
        ("9.9.9.9\n", "9.9.9.9"),
        ("fl=1\nip=9.9.9.9\nts=2\n", "9.9.9.9"),
        ("ip=10.0.0.1\nip=9.9.9.9\n", ""),
        ("your address is 9.9.9.9", ""),
        ("2606:4700::1111", ""),
        ("", ""),
    ],
)
def test_a_resolver_answers_a_bare_address_or_an_ip_line(body: str, address: str) -> None:
    assert public_address_in_body(body, 4) == address


def test_internal_addresses_are_the_first_of_the_hosts_own_interfaces() -> None:
    interfaces = [
        InterfaceAddresses("lo", True, ("127.0.0.1", "::1")),
        InterfaceAddresses("eth9", False, ("10.9.9.9",)),
        InterfaceAddresses("Docker0", True, ("172.17.0.1",)),
        InterfaceAddresses("eth0", True, ("169.254.7.7", "10.0.0.5", "fe80::1%eth0", "fd00::5")),
        InterfaceAddresses("eth1", True, ("10.0.1.5", "fd00::6")),
    ]
    assert internal_pair(interfaces) == AddressPair("10.0.0.5", "fd00::5")


@pytest.mark.parametrize(
    "name",
    [
        *("docker0", "veth1", "br-1", "wg0", "tailscale0", "cni0", "kube-ipvs0", "flannel.1", "lo0", "utun3", "llw0"),
        *("awdl0", "gif0", "stf0", "tun0", "tap0"),
    ],
)
def test_interfaces_of_tunnels_and_containers_are_passed_over(name: str) -> None:
    assert internal_pair([InterfaceAddresses(name, True, ("10.0.0.5", "fd00::5"))]) == AddressPair()
