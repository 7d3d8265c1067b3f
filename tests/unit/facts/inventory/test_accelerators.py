from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lattice_agent.facts.inventory.accelerators import fingerprint, parse_id, parse_kind, parse_nvidia_model, read
from lattice_agent.wire.host_inventory import MAX_ACCELERATORS, Accelerator
from tests.unit.facts.trees import write_tree

BUS = "sys/bus/pci/devices"
SLOT = "0000:3b:00.0"
PCI_IDS = "10de  NVIDIA Corporation\n\t20f1  GA100 [A100 PCIe 40GB]\n"


def add_device(
    root: Path, slot: str = SLOT, kind: str = "0x030200", vendor: str = "0x10de", device: str = "0x20f1"
) -> str:
    """A device on the bus, its folder, and the link to it."""
    place = f"sys/devices/pci0000:3a/{slot}"
    write_tree(root, {f"{BUS}/": "", f"{place}/class": f"{kind}\n", f"{place}/vendor": f"{vendor}\n"})
    write_tree(root, {f"{place}/device": f"{device}\n"})
    (root / BUS / slot).symlink_to(f"../../../devices/pci0000:3a/{slot}")
    return place


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *(("0x030000\n", "display"), ("0x030200", "display"), ("0x038000", "display"), ("0x03FFFF", "display")),
        *(("0x120000", "accelerator"), ("0x0b4000", "accelerator"), ("0x0B4000", "accelerator")),
        *(("0x0b3000", ""), ("0x010300", ""), ("0x020000", ""), ("0x130000", ""), ("0x000300", "")),
        *(("030000", ""), ("0x0300", ""), ("0x03000000", ""), ("", ""), ("0x03zz00", "")),
    ],
)
def test_kinds(text: str, kind: str) -> None:
    assert parse_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "found"),
    [("0x10de\n", "10de"), ("0x10DE", "10de"), ("10de", ""), ("0x10d", ""), ("0x10def", ""), ("", ""), ("0x10 e", "")],
)
def test_ids(text: str, found: str) -> None:
    assert parse_id(text) == found


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("Model: \t\t NVIDIA A100-PCIE-40GB\nIRQ:   \t\t 42\n", "NVIDIA A100-PCIE-40GB"),
        ("IRQ: 1\nModel:\tTesla: T4\n", "Tesla: T4"),
        ("Model: Unknown\n", ""),
        ("Model:\n", ""),
        ("Models: x\n", ""),
        ("", ""),
    ],
)
def test_models_of_nvidias_driver(text: str, model: str) -> None:
    assert parse_nvidia_model(text) == model


def test_a_card_with_its_driver_and_a_name_of_the_list(tmp_path: Path) -> None:
    place = add_device(tmp_path)
    (tmp_path / place / "driver").symlink_to("../../../bus/pci/drivers/nouveau")
    write_tree(tmp_path, {"usr/share/misc/pci.ids": PCI_IDS})
    assert read(tmp_path) == (
        Accelerator(
            slot=SLOT,
            kind="display",
            vendor_id="10de",
            device_id="20f1",
            model="GA100 [A100 PCIe 40GB]",
            driver="nouveau",
        ),
    )


@pytest.mark.parametrize(
    ("said", "model"), [("NVIDIA A100-PCIE-40GB", "NVIDIA A100-PCIE-40GB"), ("Unknown", "GA100 [A100 PCIe 40GB]")]
)
def test_the_driver_knows_the_model_better_unless_it_does_not(tmp_path: Path, said: str, model: str) -> None:
    add_device(tmp_path)
    information = f"proc/driver/nvidia/gpus/{SLOT}/information"
    write_tree(tmp_path, {information: f"Model: \t\t {said}\n", "usr/share/misc/pci.ids": PCI_IDS})
    assert read(tmp_path)[0].model == model


def test_no_list_is_read_for_a_card_that_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_device(tmp_path)
    write_tree(tmp_path, {f"proc/driver/nvidia/gpus/{SLOT}/information": "Model: A100\n"})
    wanted: list[frozenset[tuple[str, str]]] = []

    def read_names(root: Path, ids: frozenset[tuple[str, str]]) -> dict[tuple[str, str], str]:
        wanted.append(ids)
        return {}

    monkeypatch.setattr("lattice_agent.facts.inventory.accelerators.read_names", read_names)
    assert [card.model for card in read(tmp_path)] == ["A100"]
    assert wanted == [frozenset()]


def test_a_card_that_nobody_knows(tmp_path: Path) -> None:
    add_device(tmp_path, kind="0x120000", vendor="broken", device="")
    assert read(tmp_path) == (Accelerator(slot=SLOT, kind="accelerator"),)


def test_other_devices_and_virtual_functions_are_left_out(tmp_path: Path) -> None:
    add_device(tmp_path, "0000:00:00.0", kind="0x060000")
    add_device(tmp_path, "0000:3b:00.0")
    function = add_device(tmp_path, "0000:3b:00.4")
    (tmp_path / function / "physfn").symlink_to("../0000:3b:00.0")
    assert [card.slot for card in read(tmp_path)] == ["0000:3b:00.0"]


def test_absolute_links_stay_in_the_record(tmp_path: Path) -> None:
    place = add_device(tmp_path)
    (tmp_path / BUS / SLOT).unlink()
    (tmp_path / BUS / SLOT).symlink_to(f"/{place}")
    (tmp_path / place / "driver").symlink_to("/sys/bus/pci/drivers/vfio-pci")
    assert [card.driver for card in read(tmp_path)] == ["vfio-pci"]


def test_folders_instead_of_links(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {f"{BUS}/{SLOT}/class": "0x030000\n"})) == (
        Accelerator(slot=SLOT, kind="display"),
    )


def test_there_are_no_more_than_the_message_holds(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {f"{BUS}/{n:04x}:00:00.0/class": "0x030000\n" for n in range(MAX_ACCELERATORS + 3)}
    assert len(read(write_tree(tmp_path, files))) == MAX_ACCELERATORS


def test_no_bus_is_no_fault(tmp_path: Path) -> None:
    assert read(tmp_path) == ()


def test_the_fingerprint_follows_devices_and_drivers(tmp_path: Path) -> None:
    seen = [fingerprint(tmp_path)]
    add_device(tmp_path)
    seen.append(fingerprint(tmp_path))
    write_tree(tmp_path, {"sys/bus/pci/drivers/nvidia/": ""})
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 3
    assert fingerprint(tmp_path) == seen[-1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary())
def test_no_text_raises(tmp_path: Path, raw: bytes) -> None:
    text = raw.decode("utf-8", "replace")
    assert parse_kind(text) in ("", "display", "accelerator")
    parse_id(text)
    parse_nvidia_model("Model:" + text)
    device: dict[str, str | bytes] = {f"{BUS}/{SLOT}/{name}": raw for name in ("vendor", "device", "driver", "physfn2")}
    names: dict[str, str | bytes] = {"usr/share/misc/pci.ids": raw, f"proc/driver/nvidia/gpus/{SLOT}/information": raw}
    for kind in (raw, b"0x030000"):
        read(write_tree(tmp_path, {**device, **names, f"{BUS}/{SLOT}/class": kind}))
