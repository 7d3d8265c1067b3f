import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.clock import fingerprint, parse_timex, parse_zone_file, parse_zone_link, read
from lattice_agent.wire.host_inventory import Clock
from tests.unit.facts.trees import write_tree


def timex(max_error_us: int) -> bytes:
    """The kernel's answer as far as its status, by the compiler's rules of alignment, and room behind it."""
    return struct.pack("@Illlli", 0, -5, 7, max_error_us, 16_000_000, 0x2041) + bytes(160)


@pytest.mark.parametrize(
    ("target", "zone"),
    [
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("../usr/share/zoneinfo/America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("/usr/share/zoneinfo/posix/Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/right/Etc/GMT+5", "Etc/GMT+5"),
        ("/etc/zoneinfo/UTC", "UTC"),  # NixOS, Alpine
        ("/usr/share/zoneinfo/localtime", ""),
        ("/usr/share/zoneinfo/", ""),
        ("/usr/share/zoneinfo/../../../etc/passwd", ""),
        ("/usr/share/zoneinfo//UTC", ""),
        ("/var/lib/timezone", ""),
        ("", ""),
    ],
)
def test_the_zone_is_what_follows_zoneinfo(target: str, zone: str) -> None:
    assert parse_zone_link(target) == zone


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("Europe/Berlin\n", "Europe/Berlin"),
        ("# set by hand\n\n  Asia/Kolkata  \nEtc/UTC\n", "Asia/Kolkata"),
        ("Central European Time\n", ""),
        ("\x1b[31mUTC\n", ""),
        ("\n", ""),
        ("", ""),
    ],
)
def test_the_zone_is_the_first_line_of_its_file(text: str, zone: str) -> None:
    assert parse_zone_file(text) == zone


def test_the_link_comes_before_the_file(tmp_path: Path) -> None:
    write_tree(tmp_path, {"etc/timezone": "Etc/UTC\n"})
    assert read(tmp_path).time_zone == "Etc/UTC"
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert read(tmp_path).time_zone == "Europe/Berlin"


def test_a_copied_zone_has_no_name_of_its_own(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {"etc/localtime": b"TZif2"})) == Clock()


def test_the_agents_own_zone_is_not_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert read(tmp_path).time_zone == ""


@pytest.mark.parametrize(
    ("state", "max_error_us", "synchronised"),
    [
        (0, 1500, True),
        (1, 15_999_999, True),  # a leap second is announced
        (5, 16_000_000, False),  # nobody has set the clock yet, or not for a long time
        (5, 200_000, True),  # chrony without rtcsync leaves STA_UNSYNC set
        (-1, 0, None),  # EPERM under a strict seccomp filter
    ],
)
def test_the_kernel_says_whether_it_is_synchronised(state: int, max_error_us: int, synchronised: bool | None) -> None:
    assert parse_timex(state, timex(max_error_us)) is synchronised


def test_the_kernel_of_a_recorded_host_cannot_be_asked(tmp_path: Path) -> None:
    assert read(tmp_path).synchronised is None


def test_this_machines_kernel_answers() -> None:
    assert read(Path("/")).synchronised is not None


def test_the_fingerprint_follows_link_and_file(tmp_path: Path) -> None:
    seen = {fingerprint(tmp_path), fingerprint(write_tree(tmp_path, {"etc/timezone": "Etc/UTC\n"}))}
    os.symlink("../usr/share/zoneinfo/Asia/Tokyo", tmp_path / "etc/localtime")
    seen.add(fingerprint(tmp_path))
    assert len(seen) == 3
    assert fingerprint(tmp_path) in seen


@given(st.text(), st.integers(), st.binary())
def test_no_text_raises(text: str, state: int, answer: bytes) -> None:
    parse_zone_link("zoneinfo/" + text)
    parse_zone_file(text)
    parse_timex(state, answer)


@given(st.text())
def test_a_zone_is_nothing_but_a_name(text: str) -> None:
    assert set(parse_zone_file(text)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/")
