"""The named-set updater against the real nft and kernel, in a network namespace of its own."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs_netns

SETS = """
add table inet lattice_policy
add set inet lattice_policy blocked4 { type ipv4_addr; }
add set inet lattice_policy blocked6 { type ipv6_addr; }
add element inet lattice_policy blocked4 { 198.51.100.1 }
add element inet lattice_policy blocked6 { 2001:db8::bad }
add table ip only4
add set ip only4 hosts { type ipv4_addr; }
add table ip6 only6
add set ip6 only6 hosts { type ipv6_addr; }
"""

# The command, but with answers of the test: a namespace has no name service.
COMMAND = """
import socket, sys
answers = sys.argv.pop(1).split()
socket.getaddrinfo = lambda host, *_, **__: [(None, None, None, "", (answer, 0)) for answer in answers]
from lattice_agent.cli import main
sys.exit(main())
"""

ENVIRONMENT = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


class Namespace:
    """A named network namespace with the tables of ``SETS``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *argv: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv]
        return subprocess.run(
            enter, input=feed, capture_output=True, text=True, timeout=30, check=False, env=ENVIRONMENT
        )

    def update(self, answers: str, *flags: str, host: str = "a.example") -> subprocess.CompletedProcess[str]:
        call = (sys.executable, "-c", COMMAND, answers, "-update-nft-domain-set", "-host", host)
        return self.run(*call, *flags)

    def elements(self, family: str, table: str, set_name: str) -> list[str]:
        listed = json.loads(self.run("nft", "-j", "list", "set", family, table, set_name).stdout)
        found: list[dict[str, Any]] = [entry["set"] for entry in listed["nftables"] if "set" in entry]
        return sorted(found[0].get("elem", []))

    @property
    def blocked(self) -> tuple[list[str], list[str]]:
        four, six = (self.elements("inet", "lattice_policy", name) for name in ("blocked4", "blocked6"))
        return four, six


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"lattice-{uuid.uuid4().hex[:12]}")
    subprocess.run(["ip", "netns", "add", made.name], check=True, env=ENVIRONMENT, timeout=30)
    try:
        set_up = made.run("nft", "-f", "-", feed=SETS)
        assert set_up.returncode == 0, set_up.stderr
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True, env=ENVIRONMENT, timeout=30)


POLICY = ("-family", "inet", "-table", "lattice_policy", "-set", "blocked4", "-set6", "blocked6")
BEFORE = (["198.51.100.1"], ["2001:db8::bad"])


def test_both_families_are_replaced(namespace: Namespace) -> None:
    done = namespace.update("192.0.2.2 2001:db8::1 ::ffff:192.0.2.1", *POLICY)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "nft domain set update ok: a.example in inet lattice_policy: blocked4 has 2 addresses, blocked6 has 1 address\n"
    )
    assert namespace.blocked == (["192.0.2.1", "192.0.2.2"], ["2001:db8::1"])


def test_a_family_without_addresses_is_left_as_it_is(namespace: Namespace) -> None:
    done = namespace.update("192.0.2.1", *POLICY)
    assert done.returncode == 0
    assert "blocked6 left as it is" in done.stderr
    assert namespace.blocked == (["192.0.2.1"], BEFORE[1])


def test_a_family_without_addresses_is_emptied_on_request(namespace: Namespace) -> None:
    done = namespace.update("2001:db8::1", *POLICY, "--allow-empty")
    assert done.returncode == 0
    assert "blocked4 emptied" in done.stderr
    assert namespace.blocked == ([], ["2001:db8::1"])


def test_a_second_set_that_fails_leaves_the_first_as_it_was(namespace: Namespace) -> None:
    done = namespace.update("192.0.2.1 2001:db8::1", *POLICY[:-1], "missing6")
    assert done.returncode == 1
    failure, _, reason = done.stderr.partition("Error:")
    assert failure.startswith("nft domain set update failed: nft refused inet lattice_policy blocked4 and missing6 ")
    assert "missing6" in reason
    assert done.stderr.count("\n") == 1
    assert namespace.blocked == BEFORE


def test_a_set_of_the_wrong_type_changes_nothing(namespace: Namespace) -> None:
    done = namespace.update("192.0.2.1 2001:db8::1", *POLICY[:-1], "blocked4")
    assert done.returncode == 1
    assert namespace.blocked == BEFORE


@pytest.mark.parametrize(("answers", "allow"), [("", ()), ("", ("-allow-empty",))])
def test_no_address_at_all_changes_nothing(namespace: Namespace, answers: str, allow: tuple[str, ...]) -> None:
    done = namespace.update(answers, *POLICY, *allow)
    assert done.returncode == 1
    assert done.stderr == "nft domain set update failed: no A or AAAA records resolved for a.example\n"
    assert namespace.blocked == BEFORE


def test_tables_of_one_family(namespace: Namespace) -> None:
    answers = "192.0.2.1 2001:db8::1"
    assert namespace.update(answers, "-family=ip", "-table=only4", "-set=hosts").returncode == 0
    assert namespace.update(answers, "-family=ip6", "-table=only6", "-set6=hosts").returncode == 0
    assert namespace.elements("ip", "only4", "hosts") == ["192.0.2.1"]
    assert namespace.elements("ip6", "only6", "hosts") == ["2001:db8::1"]


def test_an_ipv4_literal_passes_through_the_installed_command(namespace: Namespace) -> None:
    command = Path(sys.executable).parent / "lattice-agent"
    done = namespace.run(str(command), "--update-nft-domain-set", "-host", "192.0.2.77", *POLICY[:-2])
    assert done.returncode == 0, done.stderr
    assert namespace.blocked == (["192.0.2.77"], BEFORE[1])


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("-host", "a; flush ruleset"), 'invalid hostname "a; flush ruleset"'),
        (("-host", "{ 1.2.3.4 }"), 'invalid hostname "{ 1.2.3.4 }"'),
        (("-host", "2001:db8::1"), 'invalid hostname "2001:db8::1"'),
        (("-table", "lattice_policy; flush ruleset"), 'invalid nft table "lattice_policy; flush ruleset"'),
        (("-set", "blocked4\nflush ruleset"), r'invalid nft set "blocked4\x0aflush ruleset"'),
        (("-set6", "x }; flush ruleset"), 'invalid nft set "x }; flush ruleset"'),
        (("-family", "inet t x; flush ruleset"), 'unsupported nft family "inet t x; flush ruleset"'),
        (("-family", "ip"), "IPv6 set requires nft family inet or ip6"),
        (("-set", "", "-set6", ""), "at least one nft set is required"),
    ],
)
def test_hostile_words_never_reach_nft(namespace: Namespace, flags: tuple[str, ...], reason: str) -> None:
    done = namespace.update("192.0.2.1", *POLICY, *flags)
    assert done.returncode == 1
    assert done.stderr == f"nft domain set update failed: {reason}\n"
    assert namespace.blocked == BEFORE


def test_as_many_addresses_as_are_allowed(namespace: Namespace) -> None:
    answers = " ".join(f"10.0.{number // 256}.{number % 256}" for number in range(4096))
    assert namespace.update(answers, *POLICY).returncode == 0
    assert len(namespace.blocked[0]) == 4096
