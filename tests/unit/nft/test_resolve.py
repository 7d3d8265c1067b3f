"""From a host name to sorted addresses, and which answers are not enough."""

import doctest
import socket
import threading
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import NftError
from lattice_agent.nft import resolve as module
from lattice_agent.nft.names import SetUpdate
from lattice_agent.nft.resolve import MAX_ADDRESSES, resolve, sort, system_resolver

BOTH = SetUpdate("a.example", "inet", "t", "four", "six")
FOUR = SetUpdate("a.example", "inet", "t", "four", None)
SIX = SetUpdate("a.example", "inet", "t", None, "six")


def shown(update: SetUpdate, *answers: str) -> tuple[list[str], list[str]]:
    addresses = resolve(update, lambda host: answers)
    return [str(address) for address in addresses.v4], [str(address) for address in addresses.v6]


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(module).failed == 0


def test_addresses_are_split_sorted_by_number_and_given_once() -> None:
    answers = (
        "192.0.2.10",
        "2001:db8::a",
        "192.0.2.9",
        "::ffff:192.0.2.9",
        "2001:db8::9",
        "192.0.2.10",
        "2001:0db8::a",
    )
    assert shown(BOTH, *answers) == (["192.0.2.9", "192.0.2.10"], ["2001:db8::9", "2001:db8::a"])


@given(st.lists(st.ip_addresses(), max_size=20))
def test_nothing_is_lost_and_the_order_of_the_answers_does_not_matter(found: list[object]) -> None:
    addresses = sort(str(address) for address in found)
    assert addresses == sort(str(address) for address in reversed(found))
    mapped = {getattr(address, "ipv4_mapped", None) or address for address in found}
    assert {*addresses.v4, *addresses.v6} == mapped
    assert list(addresses.v4) == sorted(addresses.v4)
    assert list(addresses.v6) == sorted(addresses.v6)


@pytest.mark.parametrize(
    ("update", "answers", "reason"),
    [
        (BOTH, (), "no A or AAAA records resolved for a.example"),
        (FOUR, (), "no IPv4 A records resolved for a.example"),
        (FOUR, ("2001:db8::1",), "no IPv4 A records resolved for a.example"),
        (SIX, (), "no IPv6 AAAA records resolved for a.example"),
        (SIX, ("192.0.2.1", "::ffff:192.0.2.1"), "no IPv6 AAAA records resolved for a.example"),
    ],
)
def test_too_little_is_an_error_with_the_reason_of_the_reference(
    update: SetUpdate, answers: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(NftError) as caught:
        shown(update, *answers)
    assert str(caught.value) == reason


def test_one_family_is_enough_when_both_sets_are_given() -> None:
    assert shown(BOTH, "192.0.2.1") == (["192.0.2.1"], [])
    assert shown(BOTH, "2001:db8::1") == ([], ["2001:db8::1"])


def never(host: str) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def test_a_literal_is_not_looked_up() -> None:
    update = SetUpdate("192.0.2.7", "inet", "t", "four", None)
    assert resolve(update, never).v4 == (ip_address("192.0.2.7"),)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "010.0.0.1", "0"])
def test_numbers_that_libc_takes_for_addresses_are_no_names(host: str) -> None:
    update = SetUpdate(host, "inet", "t", "four", None)
    with pytest.raises(NftError, match=f"no A or AAAA records resolved for {host}"):
        resolve(update, never)


def test_a_failed_lookup_names_the_host() -> None:
    def fails(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(NftError, match=r"cannot resolve a\.example: Name or service not known"):
        resolve(FOUR, fails)


def test_a_lookup_that_hangs_ends_at_the_deadline() -> None:
    hang_up = threading.Event()

    def hangs(host: str) -> list[str]:
        hang_up.wait()
        return []

    try:
        with pytest.raises(NftError, match=r"no answer for a\.example within 0\.01 s"):
            resolve(FOUR, hangs, within_s=0.01)
    finally:
        hang_up.set()


def test_an_absurd_number_of_addresses_is_refused() -> None:
    answers = [str(ip_address(0x0A000000 + number)) for number in range(MAX_ADDRESSES + 1)]
    with pytest.raises(NftError, match="more than 4096 addresses"):
        resolve(FOUR, lambda host: answers)
    assert len(resolve(FOUR, lambda host: answers[1:]).v4) == MAX_ADDRESSES


def test_the_system_resolver_knows_localhost() -> None:
    assert {"127.0.0.1", "::1"} & set(system_resolver("localhost"))
