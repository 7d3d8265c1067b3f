"""Which requests the set updater takes, and the reason it gives for the others."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.errors import NftError
from lattice_agent.nft.names import SetUpdate, checked_update


def request(
    host: str = "a.example", family: str = "inet", table: str = "t", set4: str = "four", set6: str = ""
) -> SetUpdate:
    return checked_update(host=host, family=family, table=table, set4=set4, set6=set6)


def reason(**fields: str) -> str:
    with pytest.raises(NftError) as caught:
        request(**fields)
    assert caught.value.exit_code == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("given_host", "host"),
    [
        ("a.example", "a.example"),
        ("  A.Example. \n", "a.example"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        (".".join(["a" * 49] * 5), ".".join(["a" * 49] * 5)),
        ("1-2", "1-2"),
    ],
)
def test_hosts_that_pass(given_host: str, host: str) -> None:
    assert request(host=given_host).host == host


@pytest.mark.parametrize(
    "host",
    [
        "", " ", ".", "a..b", ".a", "a..", "-a", "a-", "a.-b", "a_b", "a b", "a/b", "2001:db8::1", "[::1]", "a;b",
        "a{b}", "a\nb", "a\x00b", "a" * 64, "a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 63,
        "\u00fcber.example", "\u212a.example", "a,b", "$(reboot)", "1.2.3.4; flush ruleset", "@set", "*",
    ],
)  # fmt: skip
def test_hosts_that_do_not_pass(host: str) -> None:
    assert reason(host=host).startswith('invalid hostname "')


def test_a_refused_host_is_shown_on_one_line() -> None:
    assert reason(host='a"\n\x1b[2J') == r'invalid hostname "a\x22\x0a\x1b[2J"'
    assert len(reason(host="a b" * 1000)) < 400


@pytest.mark.parametrize("family", ["", "INET", "arp", "bridge", "inet ", "ip; flush ruleset"])
def test_other_families_are_refused(family: str) -> None:
    assert reason(family=family) == f'unsupported nft family "{family}"'


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"set4": "", "set6": ""}, "at least one nft set is required"),
        ({"family": "ip", "set4": "", "set6": "six"}, "IPv6 set requires nft family inet or ip6"),
        ({"family": "ip", "set4": "four", "set6": "six"}, "IPv6 set requires nft family inet or ip6"),
        ({"family": "ip6", "set4": "four"}, "IPv4 set requires nft family inet or ip"),
        ({"table": ""}, 'invalid nft table ""'),
        ({"table": "1t"}, 'invalid nft table "1t"'),
        ({"set4": "a-b"}, 'invalid nft set "a-b"'),
        ({"set6": "s s"}, 'invalid nft set "s s"'),
        ({"host": "-", "family": "x"}, 'invalid hostname "-"'),
        ({"family": "x", "set4": ""}, 'unsupported nft family "x"'),
    ],
)
def test_reasons_are_those_of_the_reference(fields: dict[str, str], expected: str) -> None:
    assert reason(**fields) == expected


@pytest.mark.parametrize(
    ("family", "set4", "set6"),
    [("inet", "four", "six"), ("inet", "", "six"), ("inet", "four", ""), ("ip", "four", ""), ("ip6", "", "six")],
)
def test_families_and_the_sets_they_may_hold(family: str, set4: str, set6: str) -> None:
    assert request(family=family, set4=set4, set6=set6) == SetUpdate(
        "a.example", family, "t", set4 or None, set6 or None
    )


@pytest.mark.parametrize(
    "name",
    [
        "t; flush ruleset",
        "t\nflush ruleset",
        "t }",
        "t\n",
        "\nt",
        "$t",
        "@t",
        "t.t",
        "t-t",
        "t\x00",
        "\u00e9t",
        "t" * 65,
        "#t",
    ],
)
def test_hostile_names_are_refused(name: str) -> None:
    assert reason(table=name).startswith("invalid nft table")
    assert reason(set4=name).startswith("invalid nft set")
    assert reason(set6=name).startswith("invalid nft set")


@given(st.text(max_size=70))
def test_a_name_that_passes_is_an_identifier_of_nft(name: str) -> None:
    try:
        table = request(table=name).table
    except NftError:
        return
    assert table == name
    assert len(name) <= 64
    assert set(name) <= set(string.ascii_letters + string.digits + "_")
    assert not name[0].isdigit()


@given(st.text(alphabet="aZ09-._ ", max_size=300))
def test_a_host_that_passes_holds_nothing_nft_could_misread(host: str) -> None:
    try:
        name = request(host=host).host
    except NftError:
        return
    assert re.fullmatch(r"[a-z0-9.-]{1,253}", name)
    assert all(0 < len(label) <= 63 for label in name.split("."))
