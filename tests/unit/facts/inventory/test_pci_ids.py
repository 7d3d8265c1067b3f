import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.inventory.pci_ids import parse_names, read_names
from lattice_agent.wire.host_inventory import TEXT_BYTES
from tests.unit.facts.trees import write_tree

TEXT = (
    "# a comment\n"
    "\n"
    "1002  Advanced Micro Devices, Inc.\n"
    "\t20f1  Not this one\n"
    "10de  NVIDIA Corporation\n"
    "\t20b0  GA100 [A100 SXM4 40GB]\n"
    "\t\t10de 20f1  A subsystem\n"
    "\t\t20f1 0001  Another\n"
    "# within a vendor\n"
    "\t20f1  GA100 [A100 PCIe 40GB]\n"
    "\t2235  GA102GL [A40]  \n"
    "C 10de  No vendor but a class\n"
    "\t20ff  No device\n"
)
A100, A40, ABSENT = ("10de", "20f1"), ("10de", "2235"), ("10de", "20ff")


def names(*wanted: tuple[str, str], text: str = TEXT) -> dict[tuple[str, str], str]:
    return parse_names(text.splitlines(keepends=True), frozenset(wanted))


def test_a_device_is_found_below_its_vendor() -> None:
    assert names(A100, A40) == {A100: "GA100 [A100 PCIe 40GB]", A40: "GA102GL [A40]"}


@pytest.mark.parametrize("unknown", [ABSENT, ("10de", "0001"), ("1002", "20b0"), ("20f1", "0001"), ("", "")])
def test_a_device_that_is_not_listed_has_no_name(unknown: tuple[str, str]) -> None:
    assert names(unknown) == {}


def test_a_list_of_classes_ends_that_of_vendors() -> None:
    assert names(("10de", "00aa"), text="10de  NVIDIA\nC 03  Display\n\t00aa  VGA\n") == {}


def test_no_more_is_read_than_needed() -> None:
    lines = iter(TEXT.splitlines(keepends=True))
    parse_names(lines, frozenset({("1002", "20f1")}))
    assert len(list(lines)) == 8


def test_long_names_are_cut() -> None:
    assert len(names(A40, text=f"10de  N\n\t2235  {'x' * 999}\n")[A40]) == TEXT_BYTES


@pytest.mark.parametrize("path", ["usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids"])
def test_files(tmp_path: Path, path: str) -> None:
    root = write_tree(tmp_path, {path: TEXT.encode() + b"\xff\n"})
    assert read_names(root, frozenset({A40})) == {A40: "GA102GL [A40]"}
    assert read_names(root, frozenset()) == {}


def test_the_second_file_is_asked_when_the_first_has_nothing(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"usr/share/hwdata/pci.ids/": "", "usr/share/misc/pci.ids": TEXT})
    assert read_names(root, frozenset({A40})) == {A40: "GA102GL [A40]"}


def test_no_file_gives_no_names(tmp_path: Path) -> None:
    assert read_names(tmp_path, frozenset({A40})) == {}


def test_an_absolute_link_stays_in_the_record(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"var/lib/pciutils/pci.ids": TEXT, "usr/share/misc/": ""})
    (root / "usr/share/misc/pci.ids").symlink_to("/var/lib/pciutils/pci.ids")
    assert read_names(root, frozenset({A40})) == {A40: "GA102GL [A40]"}


async def test_a_fifo_in_the_way_does_not_block(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"usr/share/hwdata/": "", "usr/share/misc/pci.ids": TEXT})
    os.mkfifo(root / "usr/share/hwdata/pci.ids")
    with trio.fail_after(5):
        found = await trio.to_thread.run_sync(read_names, root, frozenset({A40}), abandon_on_cancel=True)
    assert found == {A40: "GA102GL [A40]"}


def test_reading_ends_at_a_limit(tmp_path: Path) -> None:
    comment = b"#" * 4095 + b"\n"
    root = write_tree(tmp_path, {"usr/share/misc/pci.ids": comment * 1024 + TEXT.encode()})
    assert read_names(root, frozenset({A40})) == {}


@given(st.text(), st.text(st.sampled_from("\t 10de2235\n#C[]")))
def test_no_text_raises(text: str, likely: str) -> None:
    assert set(names(A40, text=text + "\n10de  N\n" + likely)) <= {A40}
