from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.inventory.hardware import fingerprint, parse_name, read
from lattice_agent.wire.host_inventory import TEXT_BYTES, Hardware
from tests.unit.facts.trees import write_tree

DMI = "sys/class/dmi/id"


@pytest.mark.parametrize(
    "text",
    [
        *("To Be Filled By O.E.M.", "To be filled by O.E.M.", "To Be Filled By OEM by More String", "Default string"),
        *("System Product Name", "System manufacturer", "Not Specified", "None", "N/A", "x.x", "xxxxxxxx", "O.E.M."),
        *("OEM", "All Series", "Type2 - Board Product Name1", "Unknown", " \n", "", "-", "...", "***", "\0"),
    ],
)
def test_texts_that_only_fill_a_place_are_absent(text: str) -> None:
    assert parse_name(text + "\n") == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Dell Inc.\n", "Dell Inc."),
        ("Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4 Model B Rev 1.4"),
        ("  OptiPlex 7090 \t\n", "OptiPlex 7090"),
        ("X11SSL-F", "X11SSL-F"),
        ("None of the above", "None of the above"),
        ("0.0.0", "0.0.0"),
        ("ä" * TEXT_BYTES, "ä" * (TEXT_BYTES // 2)),
    ],
)
def test_names_are_kept(text: str, name: str) -> None:
    assert parse_name(text) == name


def test_every_field_has_its_own_source(tmp_path: Path) -> None:
    names = ("sys_vendor", "product_name", "board_name", "bios_vendor", "bios_version", "bios_date")
    root = write_tree(tmp_path, {f"{DMI}/{name}": f"the {name}\n" for name in names})
    assert read(root) == Hardware(
        vendor="the sys_vendor",
        product="the product_name",
        board="the board_name",
        bios_vendor="the bios_vendor",
        bios_version="the bios_version",
        bios_date="the bios_date",
    )


@pytest.mark.parametrize("path", ["proc/device-tree/model", "sys/firmware/devicetree/base/model"])
@pytest.mark.parametrize("dmi", [{}, {f"{DMI}/product_name": "Default string\n"}])
def test_without_dmi_the_device_tree_names_the_machine(tmp_path: Path, path: str, dmi: dict[str, str | bytes]) -> None:
    assert read(write_tree(tmp_path, {path: "Example Board\0", **dmi})) == Hardware(product="Example Board")


def test_dmi_wins_over_the_device_tree(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{DMI}/product_name": "Server\n", "proc/device-tree/model": "Board\0"}
    assert read(write_tree(tmp_path, files)).product == "Server"


def test_the_absolute_link_to_the_device_tree_stays_in_the_record(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"sys/firmware/devicetree/base/model": "Example Board\0", "proc/": ""})
    (root / "proc/device-tree").symlink_to("/sys/firmware/devicetree/base")
    assert read(root).product == "Example Board"


def test_a_host_without_any_source_has_nothing_to_say(tmp_path: Path) -> None:
    assert read(tmp_path) == Hardware()


def test_the_fingerprint_is_that_of_the_boot(tmp_path: Path) -> None:
    empty = fingerprint(tmp_path)
    root = write_tree(tmp_path, {"proc/sys/kernel/random/boot_id": "1\n"})
    first = fingerprint(root)
    assert first == fingerprint(root) != empty
    write_tree(root, {"proc/sys/kernel/random/boot_id": "2\n"})
    assert fingerprint(root) != first


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_no_text_raises(tmp_path: Path, raw: bytes) -> None:
    parse_name(raw.decode("utf-8", "surrogateescape"))
    read(write_tree(tmp_path, {f"{DMI}/sys_vendor": raw, "proc/device-tree/model": raw}))
