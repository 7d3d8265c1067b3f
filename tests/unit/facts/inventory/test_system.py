import hashlib
import hmac
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.system import fingerprint, machine_id_hash, read
from lattice_agent.wire.host_inventory import System
from tests.unit.facts.trees import plain_host, write_tree

MACHINE_ID = "0123456789abcdef0123456789abcdef"
BOOT_ID = "5d9b8f5c-6f52-4d4c-9a39-1c0c2a5c6a11"
HASH = hmac.new(bytes.fromhex(MACHINE_ID), b"lattice-agent host inventory v1", hashlib.sha256).hexdigest()


def test_a_host_is_described_by_its_files(tmp_path: Path) -> None:
    files = {
        "etc/machine-id": MACHINE_ID + "\n",
        "proc/sys/kernel/random/boot_id": BOOT_ID + "\n",
        "run/systemd/system/": "",
    }
    assert read(write_tree(plain_host(tmp_path), files)) == System(
        name="Debian GNU/Linux 12",
        id="debian",
        version="12",
        kernel="6.1.0-18-amd64",
        arch="amd64",
        boot_id=BOOT_ID,
        machine_id_hash=HASH,
        systemd=True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "uninitialized\n",
        "0" * 32 + "\n",
        MACHINE_ID[:-1],
        MACHINE_ID + "0",
        MACHINE_ID[:-1] + "g",
        "01234567-89ab-cdef-0123-456789abcdef",
        MACHINE_ID[:16] + " " + MACHINE_ID[16:],
        "\u0661" * 32,  # digits, but not of this alphabet
    ],
)
def test_what_is_no_machine_id_has_no_hash(text: str) -> None:
    assert machine_id_hash(text) == ""


def test_the_case_of_a_machine_id_does_not_matter() -> None:
    assert machine_id_hash(MACHINE_ID.upper()) == machine_id_hash(f" {MACHINE_ID}\n") == HASH


def test_the_machine_id_itself_does_not_leave(tmp_path: Path) -> None:
    root = write_tree(plain_host(tmp_path), {"etc/machine-id": MACHINE_ID, "var/lib/dbus/machine-id": MACHINE_ID})
    written = f"{read(root)!r} {read(root).model_dump_json()} {fingerprint(root)!r}"
    assert HASH in written
    assert MACHINE_ID not in written


@pytest.mark.parametrize("first", [None, "", "uninitialized\n"])
def test_dbus_stands_in_for_a_missing_machine_id(tmp_path: Path, first: str | None) -> None:
    files: dict[str, str | bytes] = {"var/lib/dbus/machine-id": MACHINE_ID}
    root = write_tree(plain_host(tmp_path), files if first is None else {**files, "etc/machine-id": first})
    assert read(root).machine_id_hash == HASH


def test_an_absolute_link_does_not_lead_out_of_a_recorded_host(tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {"machine-id": MACHINE_ID}) / "machine-id"
    root = write_tree(plain_host(tmp_path / "host"), {"var/lib/dbus/": ""})
    (root / "var/lib/dbus/machine-id").symlink_to(outside)
    assert read(root).machine_id_hash == ""


def test_a_relative_link_is_followed(tmp_path: Path) -> None:
    root = write_tree(plain_host(tmp_path), {"run/machine-id": MACHINE_ID})
    (root / "etc/machine-id").symlink_to("../run/machine-id")
    assert read(root).machine_id_hash == HASH


@pytest.mark.parametrize(
    ("files", "systemd"),
    [
        ({"run/systemd/system/": ""}, True),
        ({"run/systemd/": ""}, False),  # udev and resolved without it
        ({"run/systemd/system": "a file"}, False),
        ({"run/openrc/": ""}, False),
        ({}, False),
    ],
)
def test_systemd_is_the_init_where_its_directory_is(
    tmp_path: Path, files: dict[str, str | bytes], systemd: bool | None
) -> None:
    assert read(write_tree(plain_host(tmp_path), files)).systemd is systemd


@pytest.mark.parametrize(
    "files",
    [
        {"etc/os-release": "ID=alpine\n"},
        {"usr/lib/os-release": "PRETTY_NAME=X\n"},
        {"proc/sys/kernel/osrelease": "3.10.0"},
    ],
)
def test_one_name_is_enough(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    system = read(write_tree(tmp_path, files))
    assert system.id or system.name or system.kernel


def test_a_host_without_any_name_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(FactsError, match="/proc/sys/kernel/osrelease"):
        read(write_tree(tmp_path, {"etc/machine-id": MACHINE_ID}))


@pytest.mark.parametrize(
    "changed",
    [
        {"proc/sys/kernel/random/boot_id": "another"},
        {"proc/sys/kernel/osrelease": "6.1.0-19-amd64"},
        {"etc/os-release": "ID=devuan\n"},
        {"usr/lib/os-release": "ID=devuan\n"},
        {"etc/machine-id": MACHINE_ID},
        {"var/lib/dbus/machine-id": MACHINE_ID},
        {"run/systemd/system/": ""},
    ],
)
def test_the_fingerprint_follows_each_source(tmp_path: Path, changed: dict[str, str | bytes]) -> None:
    root = write_tree(plain_host(tmp_path), {"run/": ""})
    before = fingerprint(root)
    assert fingerprint(root) == before
    assert fingerprint(write_tree(root, changed)) != before


def test_this_machine_has_a_boot_and_a_kernel() -> None:
    system = read(Path("/"))
    assert system.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert system.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()


@given(st.text())
def test_no_text_raises(text: str) -> None:
    machine_id_hash(text)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_broken_host_is_at_most_a_gap(tmp_path_factory: pytest.TempPathFactory, one: bytes, other: bytes) -> None:
    root = tmp_path_factory.mktemp("host")
    names = ("proc/sys/kernel/osrelease", "proc/sys/kernel/random/boot_id", "proc/sys/kernel/arch", "etc/machine-id")
    write_tree(root, {**dict.fromkeys(names, one), "etc/os-release": b"PRETTY_NAME=" + other, "run": other})
    fingerprint(root)
    with suppress(FactsError):
        read(root)
