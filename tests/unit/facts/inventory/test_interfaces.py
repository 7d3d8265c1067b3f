import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lattice_agent.facts.errors import FactsError
from lattice_agent.facts.inventory.interfaces import fingerprint, parse_speed, read, read_names
from lattice_agent.facts.inventory.permanent_address import (
    ask_driver,
    parse_answer,
    parse_mac,
    read_permanent_mac,
)
from lattice_agent.wire.host_inventory import MAX_INTERFACES, TEXT_BYTES, Interface
from tests.unit.facts.trees import net_dev, write_tree

Files = dict[str, str | bytes]
NET = "sys/class/net"
MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
INFINIBAND = ":".join(["80", "00", "02", "08", "fe", *["00"] * 14, "0a"])


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


def card(name: str = "eth0", **files: str) -> Files:
    texts: Files = {"operstate": "up\n", "address": f"{MAC}\n", "mtu": "1500\n", "speed": "1000\n", **files}
    return {f"{NET}/{name}/device/": "", **{f"{NET}/{name}/{file}": text for file, text in texts.items()}}


def only(root: Path) -> Interface:
    (found,) = read(root)
    return found


def test_a_card_with_everything(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**card(addr_assign_type="0\n"), f"{NET}/lo/mtu": "65536\n"})
    link(root, f"{NET}/eth0/device/driver", "../../../../bus/virtio/drivers/virtio_net")
    link(root, f"{NET}/eth0/master", "../../../virtual/net/br0")
    assert only(root) == Interface(
        name="eth0",
        physical=True,
        state="up",
        mac=MAC,
        permanent_mac=MAC,
        mtu=1500,
        speed_mbps=1000,
        driver="virtio_net",
        master="br0",
    )


def test_a_directory_that_says_nothing_is_still_an_interface(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {f"{NET}/wg0/": ""})) == (Interface(name="wg0", physical=False),)


def test_sysfs_as_the_kernel_builds_it_is_followed(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"sys/devices/pci0000:00/0000:00:03.0/net/ens3/mtu": "9000\n", f"{NET}/": ""})
    link(root, f"{NET}/ens3", "../../devices/pci0000:00/0000:00:03.0/net/ens3")
    link(root, "sys/devices/pci0000:00/0000:00:03.0/net/ens3/device", "../../../0000:00:03.0")
    link(root, "sys/devices/pci0000:00/0000:00:03.0/driver", "../../../bus/pci/drivers/ixgbe")
    assert only(root) == Interface(name="ens3", physical=True, mtu=9000, driver="ixgbe")


def test_no_interface_leads_out_of_the_tree(tmp_path: Path) -> None:
    outside = write_tree(tmp_path / "outside", {"mtu": "1\n"})
    root = write_tree(tmp_path / "tree", {f"{NET}/eth0/": ""})
    link(root, f"{NET}/eth1", str(outside))
    assert read_names(root) == ["eth0"]


def test_files_and_the_loopback_are_no_interfaces(tmp_path: Path) -> None:
    files: Files = {
        f"{NET}/bonding_masters": "bond0\n",
        f"{NET}/lo/": "",
        f"{NET}/bond0/bonding/": "",
        f"{NET}/eth1/": "",
    }
    assert read_names(write_tree(tmp_path, files)) == ["bond0", "eth1"]


def test_a_host_with_a_loopback_alone_has_none(tmp_path: Path) -> None:
    assert read(write_tree(tmp_path, {f"{NET}/lo/": ""})) == ()


def test_without_sysfs_the_names_come_from_the_counters(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/net/dev": net_dev(lo=(1, 1), eth0=(1, 1), docker0=(1, 1))})
    assert [(one.name, one.physical) for one in read(root)] == [("docker0", False), ("eth0", True)]


def test_names_that_cannot_be_written_are_left_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/net/dev": net_dev(**{"a\0b": (1, 1), "\x01": (1, 1), "é0": (1, 1)})})
    assert [one.name for one in read(root)] == ["é0"]


@pytest.mark.parametrize("files", [{}, {"proc/net/dev": ""}, {"proc/net/dev/": ""}, {f"{NET}/bonding_masters": "\n"}])
def test_without_any_list_there_is_no_family(tmp_path: Path, files: Files) -> None:
    with pytest.raises(FactsError, match="/proc/net/dev"):
        read(write_tree(tmp_path, files))


def test_of_too_many_the_hosts_own_are_kept(tmp_path: Path) -> None:
    names = [f"cali{number:04}" for number in range(MAX_INTERFACES)]
    root = write_tree(tmp_path, {**{f"{NET}/{name}/": "" for name in names}, f"{NET}/eth0/device/": ""})
    found = [one.name for one in read(root)]
    assert found == [*names[:-1], "eth0"]


def test_a_bond_is_physical_and_its_members_are_not(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**card("eno1"), f"{NET}/eno1/bonding_slave/": "", f"{NET}/bond0/bonding/": ""})
    assert {one.name: one.physical for one in read(root)} == {"bond0": True, "eno1": False}


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("10\n", 10),
        ("1000\n", 1000),
        ("400000", 400_000),
        ("-1\n", None),
        ("4294967295\n", None),
        ("65535\n", None),
        ("0\n", None),
        ("", None),
        ("1e3", None),
        ("2147483648", None),
    ],
)
def test_speeds(text: str, speed: int | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("state", ["up", "down", "unknown", "dormant", "lowerlayerdown", "notpresent", "testing"])
def test_every_state_of_the_kernel_is_told(tmp_path: Path, state: str) -> None:
    assert only(write_tree(tmp_path, card(operstate=f"{state}\n"))).state == state


@pytest.mark.parametrize(
    ("text", "mac"),
    [
        (f"{MAC}\n", MAC),
        ("AA:BB:CC:00:11:FF", "aa:bb:cc:00:11:ff"),
        (f"{INFINIBAND}\n", INFINIBAND),
        ("00:00:00:00:00:00\n", ""),
        (":".join(["00"] * 20), ""),
        ("c0:00:02:07\n", ""),  # gre0
        (":".join(["20", "01", "0d", "b8", *["00"] * 12]), ""),  # ip6tnl0
        ("192.0.2.7", ""),
        ("\n", ""),
        ("", ""),
        ("02-00-00-00-00-01", ""),
        (f"{MAC}:", ""),
        (f"{MAC}\n{MAC}", ""),
        ("0٢:00:00:00:00:01", ""),  # a digit, but not of ASCII
    ],
)
def test_addresses_of_cards(text: str, mac: str) -> None:
    assert parse_mac(text) == mac


@pytest.mark.parametrize(
    ("files", "mac"),
    [
        (card(addr_assign_type="0\n"), MAC),
        (card(addr_assign_type="1\n"), ""),  # random
        (card(addr_assign_type="3\n"), ""),  # set by somebody
        (card(), ""),
        ({f"{NET}/eth0/address": MAC, f"{NET}/eth0/addr_assign_type": "0\n"}, ""),  # a VLAN
        ({**card(addr_assign_type="0\n"), f"{NET}/eth0/bonding_slave/perm_hwaddr": f"{OTHER_MAC}\n"}, OTHER_MAC),
        ({**card(addr_assign_type="0\n"), f"{NET}/eth0/bonding_slave/perm_hwaddr": "junk"}, MAC),
        (card(addr_assign_type="0\n", address="00:00:00:00:00:00\n"), ""),
    ],
)
def test_permanent_addresses_of_a_recorded_host(tmp_path: Path, files: Files, mac: str) -> None:
    assert read_permanent_mac(write_tree(tmp_path, files), "eth0") == mac


@pytest.mark.parametrize(
    ("answer", "mac"),
    [
        (b"\x20\0\0\0\x06\0\0\0\x02\0\0\0\0\x01" + bytes(26), MAC),
        (b"\x20\0\0\0\x06\0\0\0" + bytes(32), ""),
        (b"\x20\0\0\0\0\0\0\0\x02\0\0\0\0\x01", ""),
        (b"\x20\0\0\0\xff\xff\xff\xff\x02\0\0\0\0\x01", ""),
        (b"\x20\0", ""),
        (b"", ""),
    ],
)
def test_what_a_driver_answers(answer: bytes, mac: str) -> None:
    assert parse_answer(answer) == mac


@pytest.mark.parametrize("name", ["no-such-link", "x" * 16, "é" * 15, "\ud800"])
def test_a_driver_that_is_not_there_answers_nothing(name: str) -> None:
    assert ask_driver(name) == ""


def test_drivers_of_this_machine_say_what_the_kernel_holds_for_permanent() -> None:
    answers = {name: ask_driver(name) for _, name in socket.if_nameindex()}
    assert answers.pop("lo") == ""
    for name, answer in answers.items():
        place = Path("/sys/class/net", name)
        if (place / "device").exists() and (place / "addr_assign_type").read_text() == "0\n":
            assert answer == (place / "address").read_text().strip()


def test_this_machine_lists_what_the_kernel_counts() -> None:
    root = Path("/")
    counted = {line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
    assert {one.name for one in read(root)} == counted - {"lo"}


def test_the_fingerprint_of_a_recorded_host_follows_its_files(tmp_path: Path) -> None:
    root = write_tree(tmp_path, card())
    before = fingerprint(root)
    assert hash(before) == hash(fingerprint(root))
    changes: list[Files] = [card(mtu="9000\n"), card("eth1"), {"proc/net/if_inet6": "x"}, {"proc/net/fib_trie": "x"}]
    for files in changes:
        write_tree(root, files)
        assert fingerprint(root) != before
        before = fingerprint(root)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    parse_speed(text)
    parse_mac(text)


@given(st.binary(max_size=64))
def test_no_answer_raises(answer: bytes) -> None:
    parse_answer(answer)


TREE_FILES = (
    *(f"{NET}/eth0/{file}" for file in ("operstate", "address", "mtu", "speed", "addr_assign_type")),
    *(f"{NET}/eth0/bonding_slave/perm_hwaddr", "proc/net/dev", "proc/net/if_inet6", "proc/net/fib_trie"),
    *("proc/net/route", f"{NET}/bonding_masters", f"{NET}/eth0/device/uevent"),
)


@given(contents=st.lists(st.binary(max_size=300), min_size=len(TREE_FILES), max_size=len(TREE_FILES)))
def test_a_tree_of_rubbish_makes_an_interface_that_can_be_sent(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    root = write_tree(tmp_path_factory.mktemp("tree"), dict(zip(TREE_FILES, contents, strict=True)))
    found = only(root)
    assert found.name == "eth0"
    assert len(found.state.encode()) <= TEXT_BYTES
    found.model_dump_json()
    hash(fingerprint(root))


@given(st.binary(max_size=300))
def test_a_list_of_rubbish_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = write_tree(tmp_path_factory.mktemp("tree"), {"proc/net/dev": content})
    if content.decode("utf-8", "replace").strip():
        assert all(one.name for one in read(root))
    else:
        with pytest.raises(FactsError):
            read(root)
