"""Network metadata (protocol reference 1.2)."""

import pytest

from server_stub.errors import Refused
from server_stub.rules.addresses import Addresses, merge, rate_key

KEY = "A" * 43 + "="


def refusal(**reported: object) -> str:
    with pytest.raises(Refused) as refused:
        merge(Addresses(), Addresses(**reported), "", hello=True)  # type: ignore[arg-type]  # str and int by name
    assert (refused.value.status, refused.value.code) == (400, "bad_request")
    return refused.value.message


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.31.0.1", "192.168.1.2", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "255.255.255.255"],
)
def test_trap_03_an_address_that_is_not_routable_is_refused(address: str) -> None:
    assert refusal(public_ip=address) == "public_ip is not a routable public address"


@pytest.mark.parametrize(
    "address", ["100.64.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.5"]
)
def test_trap_03_an_address_of_special_use_is_refused(address: str) -> None:
    assert refusal(public_ip=address) == "public_ip is reserved for special use"


@pytest.mark.parametrize("address", ["::1", "fe80::1", "fd00::1", "ff02::1", "::"])
def test_trap_03_the_same_for_ipv6(address: str) -> None:
    assert refusal(public_ipv6=address) == "public_ipv6 is not a routable public address"
    assert refusal(public_ipv6="2001:db8::1") == "public_ipv6 is reserved for special use"


def test_trap_03_families_and_nonsense() -> None:
    assert refusal(public_ip="2606:4700::1") == "public_ip must be IPv4"
    assert refusal(public_ipv6="9.9.9.9") == "public_ipv6 must be IPv6"
    assert refusal(public_ipv6="::ffff:9.9.9.9") == "public_ipv6 must be IPv6"
    assert refusal(public_ip="example.com") == "invalid public_ip"
    assert refusal(public_ipv6="2606:4700::1%eth0") == "invalid public_ipv6"


@pytest.mark.parametrize("value", ["10.0.0.300", "10.0.0.1/33", "10.0.0.1/255.0.0.0", "wg0", "fe80::1%wg0/64"])
def test_wireguard_ip(value: str) -> None:
    assert refusal(wireguard_ip=value) == "invalid wireguard_ip"


@pytest.mark.parametrize("value", ["A" * 44, "A" * 41 + "=", "A" * 40 + "-" + "AA="])
def test_wireguard_key(value: str) -> None:
    assert refusal(wireguard_public_key=value) == "invalid wireguard_public_key"


@pytest.mark.parametrize("value", ["host", "host:", ":51820", "host:65536", "host:0", "host:+1", "a b:1"])
def test_wireguard_endpoint(value: str) -> None:
    assert refusal(wireguard_endpoint=value) == "invalid wireguard_endpoint"


@pytest.mark.parametrize("port", [-1, 65_536])
def test_wireguard_port(port: int) -> None:
    assert refusal(wireguard_port=port) == "invalid wireguard_port"


STORED = Addresses("9.9.9.9", "2606:4700::1", "10.0.0.1", "fd00::1", "10.9.0.1/24", KEY, "vpn.example:51820", 51_820)


def test_empty_keeps_what_is_stored() -> None:
    assert merge(STORED, Addresses(), "", hello=False) == STORED


def test_hello_overwrites_the_wireguard_address_even_with_nothing() -> None:
    assert merge(STORED, Addresses(), "", hello=True).wireguard_ip == ""
    assert merge(STORED, Addresses(wireguard_ip="10.9.0.2"), "", hello=False).wireguard_ip == "10.9.0.2"


def test_wireguard_key_endpoint_and_port_only_with_hello() -> None:
    sent = Addresses(wireguard_public_key="B" * 43 + "=", wireguard_endpoint="[2606:4700::2]:1", wireguard_port=1)
    assert merge(STORED, sent, "", hello=False) == STORED
    merged = merge(STORED, sent, "", hello=True)
    assert (merged.wireguard_public_key, merged.wireguard_endpoint, merged.wireguard_port) == (
        "B" * 43 + "=",
        "[2606:4700::2]:1",
        1,
    )


def test_reported_before_observed_before_stored() -> None:
    assert merge(STORED, Addresses(public_ip="8.8.8.8"), "1.1.1.1", hello=False).public_ip == "8.8.8.8"
    assert merge(STORED, Addresses(), "1.1.1.1", hello=False).public_ip == "1.1.1.1"
    assert merge(STORED, Addresses(), "127.0.0.1", hello=False).public_ip == "9.9.9.9"
    assert merge(STORED, Addresses(), "::ffff:1.1.1.1", hello=False).public_ip == "1.1.1.1"


def test_the_ipv6_address_has_a_way_of_its_own() -> None:
    assert (
        merge(STORED, Addresses(public_ipv6="2606:4700::2"), "2606:4700::3", hello=False).public_ipv6 == "2606:4700::2"
    )
    observed = merge(STORED, Addresses(), "2606:4700::3", hello=False)
    assert (observed.public_ip, observed.public_ipv6) == ("9.9.9.9", "2606:4700::3")


def test_a_node_that_nothing_is_known_of_has_no_addresses() -> None:
    empty = Addresses("", "", "", "", "", "", "", 0)
    assert Addresses() == empty
    assert merge(Addresses(), Addresses(), "127.0.0.1", hello=True) == empty


@pytest.mark.parametrize("hello", [True, False])
def test_internal_addresses_are_taken_if_they_are_some(hello: bool) -> None:
    sent = Addresses(internal_ip="10.0.0.2", internal_ipv6="fd00::2")
    merged = merge(STORED, sent, "", hello=hello)
    assert (merged.internal_ip, merged.internal_ipv6) == ("10.0.0.2", "fd00::2")
    kept = merge(STORED, Addresses(internal_ip="eth0", internal_ipv6="10.0.0.300"), "", hello=hello)
    assert (kept.internal_ip, kept.internal_ipv6) == ("10.0.0.1", "fd00::1")


@pytest.mark.parametrize("value", ["10.9.0.2", "10.9.0.2/24", "fd00::9/64", "fd00::9"])
def test_a_wireguard_address_may_have_a_prefix(value: str) -> None:
    assert merge(STORED, Addresses(wireguard_ip=value), "", hello=True).wireguard_ip == value


@pytest.mark.parametrize("port", [1, 65_535])
def test_the_first_and_the_last_port(port: int) -> None:
    sent = Addresses(wireguard_endpoint=f"vpn.example:{port}", wireguard_port=port)
    merged = merge(STORED, sent, "", hello=True)
    assert (merged.wireguard_endpoint, merged.wireguard_port) == (f"vpn.example:{port}", port)


@pytest.mark.parametrize(
    ("host", "key"),
    [("9.9.9.9", "9.9.9.9"), ("::ffff:9.9.9.9", "9.9.9.9"), ("2606:4700::1:2", "2606:4700::/64"), ("", "")],
)
def test_rates_count_an_ipv6_network_as_one(host: str, key: str) -> None:
    assert rate_key(host) == key
