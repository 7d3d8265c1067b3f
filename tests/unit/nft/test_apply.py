"""The text that goes to nft, and what is made of an nft that fails. The real nft is in behaviour/test_nft_sets.py."""

import doctest
import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lattice_agent.errors import NftError
from lattice_agent.nft import apply as module
from lattice_agent.nft.apply import apply, transaction
from lattice_agent.nft.names import SetUpdate
from lattice_agent.nft.resolve import Addresses

BOTH = SetUpdate("a.example", "inet", "t", "four", "six")
V4 = (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
V6 = (IPv6Address("2001:db8::1"),)


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(module).failed == 0


def test_both_families() -> None:
    assert transaction(BOTH, Addresses(V4, V6), allow_empty=False) == (
        "flush set inet t four\n"
        "add element inet t four { 192.0.2.1, 192.0.2.2 }\n"
        "flush set inet t six\n"
        "add element inet t six { 2001:db8::1 }\n"
    )


def test_a_family_without_addresses_is_left_alone_or_on_request_emptied() -> None:
    addresses = Addresses(V4[:1], ())
    four = "flush set inet t four\nadd element inet t four { 192.0.2.1 }\n"
    assert transaction(BOTH, addresses, allow_empty=False) == four
    assert transaction(BOTH, addresses, allow_empty=True) == four + "flush set inet t six\n"


def test_a_family_without_a_set_is_left_out() -> None:
    update = SetUpdate("a.example", "ip6", "t", None, "six")
    expected = "flush set ip6 t six\nadd element ip6 t six { 2001:db8::1 }\n"
    assert transaction(update, Addresses(V4, V6), allow_empty=True) == expected


def fake_nft(folder: Path, body: str) -> str:
    program = folder / "nft"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin:/bin"


def failure(path: str) -> str:
    with pytest.raises(NftError) as caught:
        apply(BOTH, Addresses(V4, V6), allow_empty=False, path=path)
    return str(caught.value)


def test_nft_gets_the_transaction_on_stdin_and_a_bare_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATTICE_NODE_TOKEN", "secret")
    path = fake_nft(tmp_path, f'{{ echo "$# $1 $2"; env; cat; }} > {tmp_path}/seen')
    apply(BOTH, Addresses(V4, V6), allow_empty=False, path=path)
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("2 -f -\n")
    assert seen.endswith(transaction(BOTH, Addresses(V4, V6), allow_empty=False))
    assert "secret" not in seen


def test_what_nft_complains_about_is_one_short_line(tmp_path: Path) -> None:
    path = fake_nft(tmp_path, r"printf 'Error: no such\033[2J set\nadd element inet t six\n    ^^^^\n' >&2; exit 1")
    expected = "nft refused inet t four and six (status 1): Error: no such [2J set; add element inet t six"
    assert failure(path) == expected


def test_an_nft_that_floods_its_stderr_is_cut(tmp_path: Path) -> None:
    assert len(failure(fake_nft(tmp_path, "head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1"))) < 500


def test_an_nft_that_reads_nothing(tmp_path: Path) -> None:
    many = Addresses(tuple(IPv4Address(0x0A000000 + number) for number in range(4096)), ())
    with pytest.raises(NftError, match=r"status 3\): no message"):
        apply(BOTH, many, allow_empty=False, path=fake_nft(tmp_path, "exit 3"))


def test_an_nft_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NFT_DEADLINE_S", 0.05)
    assert failure(fake_nft(tmp_path, "exec sleep 60")) == "nft did not finish with inet t four and six within 0.05 s"


def test_an_nft_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "nft").write_text("not a program")
    (tmp_path / "nft").chmod(0o755)
    assert failure(str(tmp_path)) == f"cannot run {tmp_path}/nft: Exec format error"


def test_nft_is_found_in_sbin_when_path_lacks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nft(tmp_path, "exit 0")
    monkeypatch.setattr(module, "_SBIN", str(tmp_path))
    apply(BOTH, Addresses(V4, V6), allow_empty=False, path="/nowhere")
    monkeypatch.setattr(module, "_SBIN", "/nowhere")
    assert failure("/nowhere") == "nft was not found on PATH"
